package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/build"
)

func (p *program) versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "print the version",
		Action: p.printVersion,
	}
}

func (p *program) printVersion(*cli.Context) error {
	_, err := fmt.Fprintf(p.stdout, "apium %s (%s)\n", build.Version(), build.Platform())
	return err
}
