package cli

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	_ "time/tzdata" // a container may have no time zones, and timezone must mean what it says

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/settings"
)

// loadSettings reads what an app has exported, if there is one, or the settings file, the
// environment, name=value arguments, and those flags that are parts of a setting.
func loadSettings(c *cli.Context, args []string, exported []byte) (*settings.Settings, error) {
	from := settings.Sources{Exported: exported, App: c.String("app"), File: settingsFile(c), Environ: unclaimed(c), Args: args}
	if c.IsSet("visibility-timeout") {
		seconds := strconv.FormatFloat(flagSeconds(c, "visibility-timeout").Seconds(), 'f', -1, 64)
		from.Options = append(from.Options, transportOption("visibility-timeout", "visibility_timeout="+seconds))
	}
	if c.IsSet("queue-order-strategy") {
		from.Options = append(from.Options, transportOption("queue-order-strategy", "queue_order_strategy="+c.String("queue-order-strategy")))
	}
	for _, flag := range []string{"broker-transport-options", "result-backend-transport-options"} {
		for _, value := range c.StringSlice(flag) {
			from.Options = append(from.Options, settings.Option{Flag: "--" + flag, Setting: strings.ReplaceAll(flag, "-", "_"), Value: value})
		}
	}
	conf, err := settings.Load(from)
	var problems *settings.Error
	if errors.As(err, &problems) && problems.OnCommandLine() {
		return nil, usage(c, err, false)
	}
	if err != nil {
		return nil, err
	}
	takeURLs(c, conf)
	if exported != nil {
		return conf, checkBroker(c, conf)
	}
	return conf, nil
}

func transportOption(flag, value string) settings.Option {
	return settings.Option{Flag: "--" + flag, Setting: "broker_transport_options", Value: value}
}

// unclaimed is the environment without what flags read.
func unclaimed(c *cli.Context) []string {
	var claimed []string
	for _, f := range slices.Concat(c.App.Flags, c.Command.Flags) {
		if doc, ok := f.(cli.DocGenerationFlag); ok {
			claimed = append(claimed, doc.GetEnvVars()...)
		}
	}
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(claimed, name)
	})
}
