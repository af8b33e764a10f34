package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
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
	app, err := p.describe(c)
	if err != nil {
		return err
	}
	conf, err := loadSettings(c, nil, app.Settings)
	if err != nil {
		return err
	}
	urls := fromsettings.URLs(conf)
	transport, _, _ := strings.Cut(urls.BrokerURL, "://")
	if err := urls.Read(conf); err != nil { // that is worth a report, too
		fmt.Fprintf(p.stderr, "Warning: %v\n", err)
	}
	for _, name := range slices.Sorted(maps.Keys(app.Lost)) {
		fmt.Fprintf(p.stderr, "Warning: %s is known to Python only: %s\n", name, app.Lost[name])
	}
	about := control.About{
		Version: build.Version(), Transport: strings.TrimSuffix(cmp.Or(urls.Broker.Scheme, transport), "+socket"), Software: app.Software, Loader: app.Loader,
	}
	shown := urls.Shown(conf.Table(false))
	if c.Bool("json") {
		return p.printReport(about, shown)
	}
	_, err = fmt.Fprintln(p.stdout, control.Report(about, shown))
	return err
}

func (p *program) printReport(about control.About, shown map[string]any) error {
	report := map[string]any{
		"version": about.Version, "platform": build.Platform(), "transport": about.Transport, "settings": control.Censor(shown),
	}
	if about.Software != nil {
		report["software"], report["loader"] = about.Software, about.Loader
	}
	return p.printJSON(report)
}
