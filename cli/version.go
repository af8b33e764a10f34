package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// modulePath is how this module appears in a program built from it.
const modulePath = "github.com/apium/apium"

// version is the module's version as the build knows it, "(devel)" for a build
// from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	if info.Main.Path == modulePath && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path == modulePath {
			return dep.Version
		}
	}
	return "(devel)"
}

func platform() string {
	return runtime.GOOS + "-" + runtime.GOARCH + "-" + runtime.Version()
}

func (p *program) versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "print the version",
		Action: p.printVersion,
	}
}

func (p *program) printVersion(*cli.Context) error {
	_, err := fmt.Fprintf(p.stdout, "apium %s (%s)\n", version(), platform())
	return err
}
