package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/internal/build"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/nodename"
	"github.com/apium/apium/python"
)

const beatCategory = "Beat Options"

func (p *program) beatCommand() *cli.Command {
	return &cli.Command{
		Name:  "beat",
		Usage: "send periodic tasks, list them, or run one now",
		UsageText: p.name + " -A mysite beat -l INFO\n" +
			p.name + " beat --config celery.json -l INFO\n" +
			p.name + " beat list [--json]\n" +
			p.name + " beat run NAME",
		ArgsUsage: "[list | run NAME]",
		Description: "Any number of beats may run for one schedule: each run is sent once, and another beat goes on within --lead-for when one dies.\n\n" +
			"list shows all entries, with their last and next runs. run sends the task of one now, whatever its schedule says.",
		Flags:  beatFlags(),
		Action: p.runBeat,
	}
}

// beatFlags are the beat's own. Every one can be given in the environment as CELERY_BEAT_<OPTION>.
func beatFlags() []cli.Flag {
	env := func(name string) []string {
		return []string{"CELERY_BEAT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
	}
	text := func(category, name, short, value, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Aliases: alias(short), Value: value, Usage: usage, Category: category, EnvVars: env(name)}
	}
	toggle := func(name, usage string) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, Category: beatCategory, EnvVars: env(name), DisableDefaultText: true}
	}
	flags := []cli.Flag{
		text(beatCategory, "scheduler", "S", "", "`SCHEDULER` that has the entries, by Celery's names (beat_scheduler): "+strings.Join(schedulerAliases(), ", ")),
		text(beatCategory, "schedule", "s", "", "`FILE` of Celery's beat; not needed, as the broker keeps what was sent"),
		text(beatCategory, "schedule-id", "", "", "`NAME` that all beats of this project have in common, and no others on this broker (default: as the app)"),
		text(beatCategory, "database", "", "", "`URL` of the database that has the entries (default: that of the Django project, or DATABASE_URL)"),
		&cli.GenericFlag{
			Name: "max-interval", Value: new(seconds), Category: beatCategory, EnvVars: env("max-interval"),
			Usage: "`SECONDS` between two looks at the schedule at most (beat_max_loop_interval)",
		},
		&cli.GenericFlag{
			Name: "lead-for", Value: new(seconds), Category: beatCategory, EnvVars: env("lead-for"),
			Usage: "`SECONDS` that a beat which has died is waited for until another one sends, from 1 (default: 10)",
		},
		toggle("enable-remote-control", "answer to inspect ping and status (beat_enable_remote_control)"),
		toggle("no-enable-remote-control", "do not, whatever the settings say"),
		toggle("ignore-python-hooks", "with -A, go on without what of the app hears of Celery's beat and cannot be kept"),
		text(beatCategory, "hostname", "n", "celerybeat@%h", "node `NAME`; expands %h (host), %n (its first part), %d (domain)"),
		text(beatCategory, "loglevel", "l", "WARNING", "`LEVEL`: DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL"),
		text(beatCategory, "log-format", "", "text", "`FORMAT` of log lines: text, as Celery's, or json"),
		text(beatCategory, "metrics-addr", "", "", "serve Prometheus metrics, /livez and /readyz at `[HOST]:PORT`; without a host, for this machine only"),
		text(daemonCategory, "logfile", "f", "", "log to `FILE` instead of stderr; expands %n, %h, %d, %p, %i"),
		text(daemonCategory, "pidfile", "", "", "write the process id to `FILE`"),
		jsonFlag(),
	}
	for _, f := range slices.Concat(missingFlags, []celeryFlag{beatExecutable}) {
		flags = append(flags, f.flag("", true, env(f.name)))
	}
	return flags
}

// beatExecutable is the Python of a detached beat.
var beatExecutable = celeryFlag{name: "executable", value: true, why: "the app's Python is --python"}

// beatSettings is what the settings, the environment and the beat's flags say.
type beatSettings struct {
	workerSettings // of which the log's matter

	opts    app.BeatOptions
	sources scheduler
	refused []python.Refusal // of the app
}

// beatActions are what the command does besides sending what is due.
var beatActions = []string{"list", "run"}

func (p *program) runBeat(c *cli.Context) error {
	switch what := c.Args().First(); {
	case what == "" || strings.Contains(what, "="):
		return p.sendPeriodic(c)
	case what == "list" && c.NArg() == 1:
		return p.listBeat(c)
	case what == "run" && c.NArg() == 2:
		return p.runEntry(c, c.Args().Get(1))
	case what == "list":
		return usage(c, fmt.Errorf("list shows all entries, and takes no '%s'", c.Args().Get(1)), false)
	case what == "run":
		return usage(c, errors.New("run needs the name of one entry; '"+p.name+" beat list' shows them"), false)
	default:
		return usage(c, fmt.Errorf("no such command '%s'.%s What may follow is list, run NAME, or settings as beat.max_loop_interval=60", what,
			didYouMean(what, beatActions, "")), false)
	}
}

// sendPeriodic sends periodic tasks until a signal.
func (p *program) sendPeriodic(c *cli.Context) error {
	p.neverWaitForReaders()
	supervisor := p.supervise()
	defer supervisor.close()
	s, err := p.readBeatSettings(c, c.Args().Slice())
	if err != nil {
		return err
	}
	if err := s.acceptHooks(c, s.refused); err != nil {
		return err
	}
	out, closeLog, err := openLog(s.logfile, p.stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	s.log = s.logger(out, s.color && isTerminal(p.stderr) && s.logfile == "")
	s.opts.Logger = s.log
	if s.pidfile != "" {
		remove, err := writePidfile(s.pidfile, s.notices(p.stderr))
		if err != nil {
			return err
		}
		defer remove()
	}
	ctx, stop := signal.NotifyContext(c.Context, stopSignals...)
	defer stop()
	defer context.AfterFunc(ctx, supervisor.stopping)()
	supervisor.warn(&s.warnings)
	return s.with(ctx, c, func(b *app.Beat) error {
		supervisor.serves(b)
		p.beatBanner(s, b)
		for _, warning := range s.warnings {
			s.log.Warn(warning, logline.EventKey, "Configuration warning", "warning", warning)
		}
		return b.Run(ctx)
	})
}

// with does something with a beat, and closes its sources.
func (s *beatSettings) with(ctx context.Context, c *cli.Context, do func(*app.Beat) error) (err error) {
	if err := s.open(ctx, c); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.sources.close()) }()
	b, err := app.NewBeat(ctx, s.conf, s.opts)
	var mistake *app.ConfigError
	switch {
	case errors.As(err, &mistake):
		return usage(c, err, false)
	case err != nil:
		return err
	}
	return do(b)
}

// ask has something asked of a beat that does not run.
func (p *program) ask(c *cli.Context, do func(context.Context, *beatSettings, *app.Beat) error) error {
	ctx, stop := interruptible(c)
	defer stop()
	s, err := p.readBeatSettings(c, nil)
	if err != nil {
		return err
	}
	return s.with(ctx, c, func(b *app.Beat) error { return do(ctx, s, b) })
}

// readBeatSettings checks every flag whose type does not check itself.
func (p *program) readBeatSettings(c *cli.Context, args []string) (*beatSettings, error) {
	for _, f := range missingFlags {
		if c.IsSet(f.name) {
			return nil, usage(c, fmt.Errorf("option '--%s': %s", f.name, strings.ReplaceAll(f.why, "the worker", "the beat")), false)
		}
	}
	if lead := flagSeconds(c, "lead-for"); c.IsSet("lead-for") && lead < time.Second {
		return nil, usage(c, fmt.Errorf("invalid value for '--lead-for': %v is less than a second", lead), false)
	}
	d, err := p.describePeriodic(c)
	if err != nil {
		return nil, err
	}
	conf, err := loadSettings(c, args, d.Settings)
	if err != nil {
		return nil, err
	}
	given(c, "scheduler", c.String, &conf.BeatScheduler)
	given(c, "schedule", c.String, &conf.BeatScheduleFilename)
	given(c, "schedule-id", c.String, &conf.BeatScheduleID)
	given(c, "log-format", c.String, &conf.LogFormat)
	given(c, "metrics-addr", c.String, &conf.MetricsAddr)
	conf.BeatEnableRemoteControl = (conf.BeatEnableRemoteControl || c.Bool("enable-remote-control")) && !c.Bool("no-enable-remote-control")
	conf.BeatScheduleID = cmp.Or(conf.BeatScheduleID, projectName(c.String("app")))
	signed, err := signedBy(d.Signing)
	if err != nil {
		return nil, err
	}
	known := p.reg.Clone()
	d.Register(known)
	hostname := nodename.Of(c.String("hostname"), nodename.Host())
	s := &beatSettings{
		workerSettings: workerSettings{
			conf: conf, quiet: c.Bool("quiet"), color: !c.Bool("no-color") && (conf.WorkerLogColor == nil || *conf.WorkerLogColor),
			logfile: nodename.Path(c.String("logfile"), hostname), pidfile: nodename.Path(c.String("pidfile"), hostname),
			opts: app.Options{Hostname: hostname},
		},
		opts: app.BeatOptions{Hostname: hostname, MaxInterval: flagSeconds(c, "max-interval"), LeadFor: flagSeconds(c, "lead-for"), Registry: known, Signed: signed},
	}
	if s.refused = d.Refused; c.IsSet(beatExecutable.name) {
		s.warn(beatExecutable.names() + " has no effect: " + beatExecutable.why)
	}
	for name, why := range d.Lost {
		if name == "beat_schedule" || strings.HasPrefix(name, "beat_schedule.") {
			s.warn(name + " has no effect: " + why)
		}
	}
	if err := s.readLevel(c); err != nil {
		return nil, usage(c, err, false)
	}
	return s, nil
}

// acceptHooks is an error if something of the app hears of Celery's beat that cannot here, unless that is to be
// ignored: then it warns.
func (s *workerSettings) acceptHooks(c *cli.Context, refused []python.Refusal) error {
	var texts strings.Builder
	for i := range refused {
		if c.Bool("ignore-python-hooks") {
			s.warn("Going on without " + refused[i].String())
		} else {
			texts.WriteString("\n  " + refused[i].String())
		}
	}
	if texts.Len() == 0 {
		return nil
	}
	return usage(c, fmt.Errorf("the app %s hangs in Celery's beat what cannot be kept here:%s\nTo go on without that, give --ignore-python-hooks; "+
		"or send its periodic tasks with celery beat", c.String("app"), texts.String()), false)
}

// open opens what has the entries.
func (s *beatSettings) open(ctx context.Context, c *cli.Context) (err error) {
	if s.sources, err = openScheduler(ctx, c, s.conf, s.opts.Logger); err != nil {
		return err
	}
	s.opts.Sources = s.sources.sources
	s.opts.MaxInterval = cmp.Or(s.opts.MaxInterval, s.conf.BeatMaxLoopInterval, s.sources.maxInterval)
	s.conf.BeatScheduler = "" // it is known what that means
	return nil
}

// projectName is what all parts of a project call it, of the ways to name its app: mysite, mysite.celery:app.
func projectName(app string) string {
	name, _, _ := strings.Cut(app, ":")
	name, _, _ = strings.Cut(name, ".")
	return name
}

// beatBanner is that of Celery's beat.
func (p *program) beatBanner(s *beatSettings, b *app.Beat) {
	maxInterval := b.MaxInterval()
	if s.conf.LogFormat == "json" {
		s.log.Info("Beat starts", "version", "apium "+build.Version(), "broker", b.Broker(), "scheduler", s.sources.name, "schedule", b.Schedule(),
			"max_interval", maxInterval.Seconds())
		return
	}
	if s.quiet {
		return
	}
	level := levelName(s.level)
	remote := ""
	if s.conf.BeatEnableRemoteControl {
		remote = "    . remote control -> " + b.Hostname() + "\n"
	}
	fmt.Fprintf(p.stdout, "celery beat, apium %s, is starting.\n__    -    ... __   -        _\nLocalTime -> %s\nConfiguration ->\n"+
		"    . broker -> %s\n    . scheduler -> %s\n    . schedule -> %s\n    . logfile -> %s@%%%s\n    . maxinterval -> %s (%gs)\n%s",
		build.Version(), time.Now().In(s.zone()).Format(time.DateTime), b.Broker(), s.sources.name, b.Schedule(),
		cmp.Or(s.logfile, "[stderr]"), level, schedule.Humanize(maxInterval), maxInterval.Seconds(), remote)
}

// interruptible is a command's context until somebody stops it.
func interruptible(c *cli.Context) (context.Context, func()) {
	return signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
}
