package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/build"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/operate/control"
)

func (p *program) reportCommand() *cli.Command {
	return &cli.Command{
		Name:   "report",
		Usage:  "print versions and settings, for bug reports",
		Flags:  []cli.Flag{jsonFlag()},
		Action: p.runReport,
	}
}

func (p *program) runReport(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	conf, err := loadSettings(c, nil)
	if err != nil {
		return err
	}
	urls := fromsettings.URLs(conf)
	if err := urls.Read(conf); err != nil {
		return usage(c, err, false)
	}
	shown := urls.Shown(conf.Table(false))
	transport := strings.TrimSuffix(urls.Broker.Scheme, "+socket")
	if c.Bool("json") {
		return p.printJSON(map[string]any{
			"version": build.Version(), "platform": build.Platform(), "transport": transport, "settings": control.Censor(shown),
		})
	}
	_, err = fmt.Fprintln(p.stdout, control.Report(build.Version(), transport, shown))
	return err
}
