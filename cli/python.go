package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/nodename"
	"github.com/apium/apium/python"
)

// pythonFlags concern the child processes in which a Python app's tasks run.
func pythonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: appOptionsFlag, Hidden: true},
		integer(poolCategory, "go-concurrency", 0, "`NUMBER` of Go handlers that run at the same time, beside the children with -A; 0: as many as --concurrency"),
		toggle(poolCategory, "ignore-python-hooks", "with -A, go on without what the app hangs in Celery's MainProcess and cannot be kept"),
	}
}

// loadApp loads the Python app that -A names; nil: none is named.
func (p *program) loadApp(ctx context.Context, c *cli.Context) (*python.App, error) {
	if !namesApp(c) {
		return nil, nil //nolint:nilnil // there is none, and that is no mistake
	}
	if err := checkForCelery(c); err != nil {
		return nil, usage(c, err, false)
	}
	opts := python.Options{
		Interpreter: c.String("python"),
		App:         c.String("app"),
		Hostname:    nodename.Of(c.String("hostname"), nodename.Host()),
		Pool:        c.String("pool"),
		Worker:      workerArguments(c),
		Environ:     appEnvironment(c),
		Argv:        p.pythonArgv(),
		UserOptions: appOptionsOf(c).Given,
		Logger:      p.earlyLog(c),
	}
	app, err := python.Load(ctx, opts)
	if err != nil {
		return nil, notLoaded(c, err, "; then all tasks run in Go")
	}
	return app, nil
}

// earlyLog has the form of the worker's log as far as the command line says it: the settings are those of the app that is being loaded.
func (p *program) earlyLog(c *cli.Context) *slog.Logger {
	level, err := level(c)
	if err != nil {
		level = slog.LevelWarn
	}
	return slog.New(newLogHandler(p.stderr, c.String("log-format"), level, false))
}

// checkForCelery refuses values which Celery's own worker, that loads the app, would trip over, and others that are
// wrong whatever the app is: it may take long to load.
func checkForCelery(c *cli.Context) error {
	if _, err := level(c); err != nil {
		return err
	}
	if c.IsSet("pool") {
		if err := checkPool(c.String("pool")); err != nil {
			return err
		}
	}
	if _, err := concurrency(c); err != nil {
		return err
	}
	if _, err := autoscale(c); err != nil {
		return err
	}
	for _, flag := range wholeNumbers {
		if value := c.String(flag); c.IsSet(flag) {
			if _, err := strconv.Atoi(value); err != nil {
				return fmt.Errorf("invalid value for '--%s': '%s' is not a valid integer", flag, value)
			}
		}
	}
	for _, f := range ignoredFlags {
		if f.name == "pool-start-method" && c.IsSet(f.name) { // of -O, Celery 4 takes any
			return f.checkChoice(c.String(f.name))
		}
	}
	return nil
}

// wholeNumbers are flags for Celery's worker that are numbers.
var wholeNumbers = []string{"max-tasks-per-child", "max-memory-per-child"}

// notLoaded says why an app cannot be loaded, in Celery's words if its code is to blame, and else
// with the ways out, of which without has the consequence.
func notLoaded(c *cli.Context, err error, without string) error {
	var broken *python.LoadError
	if errors.As(err, &broken) && broken.Usage {
		if mistake := appOptionsOf(c).Mistake; strings.HasPrefix(broken.Text, "No such option") || strings.HasPrefix(broken.Text, "Unrecognized arguments") {
			return usage(c, errors.New(mistake), false)
		}
		return usage(c, err, false)
	}
	if errors.As(err, &broken) && broken.HasCelery {
		return usage(c, fmt.Errorf("\n%w", err), false)
	}
	return usage(c, fmt.Errorf("%w\nName the project's Python with --python, or do without: export the app's settings "+
		"(scripts/export_settings.py -A %s > celery.json) and give them with --config celery.json%s", err, c.String("app"), without), false)
}

// appEnvironment is what options of the command line are in the environment of a Python app.
func appEnvironment(c *cli.Context) (environ []string) {
	for _, o := range [][2]string{{"broker", "CELERY_BROKER_URL"}, {"result-backend", "CELERY_RESULT_BACKEND"}, {"loader", "CELERY_LOADER"}} {
		if c.IsSet(o[0]) {
			environ = append(environ, o[1]+"="+c.String(o[0]))
		}
	}
	if config := c.String("config"); config != "" && settingsFile(c) == "" {
		environ = append(environ, "CELERY_CONFIG_MODULE="+config)
	}
	if c.Bool("skip-checks") {
		environ = append(environ, "CELERY_SKIP_CHECKS=true")
	}
	return environ
}

// workerArguments are the options that Celery's own worker is made with.
func workerArguments(c *cli.Context) map[string]any {
	arguments := map[string]any{"loglevel": cmp.Or(c.String("loglevel"), "WARNING"), "quiet": true}
	if c.IsSet("logfile") {
		arguments["logfile"] = c.String("logfile") // Celery expands it, in each child anew
	}
	if c.Bool("no-color") {
		arguments["no_color"] = true
	}
	for _, flag := range append([]string{"concurrency"}, wholeNumbers...) {
		if n, err := strconv.Atoi(c.String(flag)); err == nil && c.IsSet(flag) {
			arguments[argumentName(flag)] = n
		}
	}
	for _, flag := range []string{"queues", "exclude-queues", "include"} {
		if c.IsSet(flag) {
			arguments[argumentName(flag)] = commaList(c.String(flag))
		}
	}
	for _, flag := range []string{"time-limit", "soft-time-limit"} {
		if c.IsSet(flag) {
			arguments[argumentName(flag)] = flagSeconds(c, flag).Seconds()
		}
	}
	for _, flag := range []string{"optimization", "pool-start-method"} {
		if c.IsSet(flag) {
			arguments[argumentName(flag)] = c.String(flag)
		}
	}
	return arguments
}

// argumentName is what a flag is called in Python.
func argumentName(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// meant are the flags that mean something only with Python children.
var meant = []string{"max-tasks-per-child", "max-memory-per-child", "pool-start-method", "include", "optimization", "loader", "skip-checks"}

func isMeant(flag string) bool { return slices.Contains(meant, flag) }
