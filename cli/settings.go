package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/nodename"
	"github.com/apium/apium/python"
	"github.com/apium/apium/settings"
)

// workerSettings is what the settings file, the environment and the worker's flags say.
type workerSettings struct {
	conf     *settings.Settings
	opts     app.Options
	app      string
	level    slog.Level
	logfile  string
	pidfile  string
	quiet    bool
	color    bool
	queues   []string // names
	pool     string   // as the banner names it
	purge    bool
	embedded bool
	port     int // of the embedded Redis
	log      *slog.Logger
	warnings []string // one line for each flag without effect

	logLines, taskLogLines lineFormat
}

// warn has the worker warn of a flag without effect.
func (s *workerSettings) warn(line string) { s.warnings = append(s.warnings, line) }

// readWorkerSettings checks every flag whose type does not check itself.
func readWorkerSettings(c *cli.Context, project *python.App) (*workerSettings, error) {
	for _, f := range missingFlags {
		if c.IsSet(f.name) {
			return nil, usage(c, fmt.Errorf("option '--%s': %s", f.name, f.why), false)
		}
	}
	if o := appOptionsOf(c); project == nil && o.Mistake != "" {
		return nil, usage(c, errors.New(o.Mistake), false)
	}
	var exported []byte
	if project != nil {
		exported = project.Manifest().Settings
	}
	conf, err := loadSettings(c, c.Args().Slice(), exported)
	if err != nil {
		return nil, err
	}
	s := &workerSettings{
		conf: conf,
		opts: app.Options{
			Hostname:          nodename.Of(c.String("hostname"), nodename.Host()),
			WithoutHeartbeat:  c.Bool("without-heartbeat"),
			WithoutMingle:     c.Bool("without-mingle") || c.Bool("embedded"), // nobody else can be there
			WithoutGossip:     c.Bool("without-gossip"),
			HeartbeatInterval: flagSeconds(c, "heartbeat-interval"),
			Shown:             conf.Table,
			Python:            project,
			GoConcurrency:     c.Int("go-concurrency"),
			IgnorePythonHooks: c.Bool("ignore-python-hooks"),
		},
		app:      c.String("app"),
		quiet:    c.Bool("quiet"),
		color:    !c.Bool("no-color") && (conf.WorkerLogColor == nil || *conf.WorkerLogColor),
		purge:    c.Bool("purge"),
		embedded: c.Bool("embedded"),
		port:     c.Int("port"),
	}
	conf.WorkerSendTaskEvents = conf.WorkerSendTaskEvents || c.Bool("task-events")
	given(c, "log-format", c.String, &conf.LogFormat)
	given(c, "metrics-addr", c.String, &conf.MetricsAddr)
	s.logfile = nodename.Path(c.String("logfile"), s.opts.Hostname)
	s.pidfile = nodename.Path(c.String("pidfile"), s.opts.Hostname)
	for _, read := range []func(*cli.Context) error{
		s.readLevel, s.readPool, s.readQueues, s.readTaskOptions, s.readWaiting, s.readUnknown, s.readShares, s.readIgnored, s.readBeat,
	} {
		if err := read(c); err != nil {
			return nil, usage(c, err, false)
		}
	}
	return s, nil
}

// given assigns a flag to a field if the flag was given.
func given[T any](c *cli.Context, flag string, get func(string) T, field *T) {
	if c.IsSet(flag) {
		*field = get(flag)
	}
}

func (s *workerSettings) readLevel(c *cli.Context) (err error) {
	if s.level, err = level(c); err != nil {
		return err
	}
	if !slices.Contains(logFormats, s.conf.LogFormat) {
		return fmt.Errorf("invalid value for '--log-format': '%s' is not one of %s", s.conf.LogFormat, strings.Join(logFormats, ", "))
	}
	s.logLines = s.readLineFormat("worker_log_format", s.conf.WorkerLogFormat, &logFormat)
	s.taskLogLines = s.readLineFormat("worker_task_log_format", s.conf.WorkerTaskLogFormat, &taskLogFormat)
	return nil
}

func (s *workerSettings) readPool(c *cli.Context) (err error) {
	s.pool = "goroutines"
	if s.opts.Python != nil {
		s.pool = s.opts.Python.Manifest().PoolModule()
	}
	if c.IsSet("concurrency") {
		if s.conf.WorkerConcurrency, err = concurrency(c); err != nil {
			return err
		}
	}
	pool, origin := s.conf.WorkerPool, s.conf.Origin("worker_pool").String()
	isClass := strings.ContainsAny(pool, ".:") // the setting may name one, the option may not
	if c.IsSet("pool") {
		pool, origin, isClass = c.String("pool"), "-P/--pool "+c.String("pool"), false
		s.conf.WorkerPool = pool
	}
	if err := checkPool(pool); pool != "" && !isClass && err != nil {
		return err
	}
	switch {
	case origin == "" || pool == "" || s.opts.Python != nil: // Celery's default, prefork
	case pool == "solo" || strings.HasPrefix(pool, "celery.concurrency.solo"):
		s.pool = "solo"
	default:
		s.warn(origin + " has no effect: tasks run in goroutines")
	}
	if s.opts.Autoscale, err = autoscale(c); err != nil {
		return err
	}
	if n := s.opts.GoConcurrency; n < 0 {
		return fmt.Errorf("invalid value for '--go-concurrency': %d is negative", n)
	}
	prefetch := c.Int("prefetch-multiplier")
	if prefetch < 0 {
		return fmt.Errorf("invalid value for '--prefetch-multiplier': %d is negative", prefetch)
	}
	if c.IsSet("prefetch-multiplier") {
		s.conf.WorkerPrefetchMultiplier = &prefetch
	}
	if c.IsSet("prefetch-multiplier") || c.IsSet("disable-prefetch") {
		s.conf.WorkerDisablePrefetch = c.Bool("disable-prefetch")
	}
	return nil
}

func (s *workerSettings) readQueues(c *cli.Context) (err error) {
	var queues []broker.Queue
	if s.opts.Python != nil { // it was given -Q and -X
		queues, err = fromsettings.ConsumedByApp(s.opts.Python.Manifest().Queues)
	} else {
		if c.IsSet("queues") {
			s.opts.Queues = commaList(c.String("queues"))
		}
		s.opts.ExcludeQueues = commaList(c.String("exclude-queues"))
		queues, err = fromsettings.Consumed(s.conf, s.opts.Queues, s.opts.ExcludeQueues, s.opts.Hostname)
	}
	for _, q := range queues {
		s.queues = append(s.queues, q.Name)
	}
	return err
}

func (s *workerSettings) readIgnored(c *cli.Context) error {
	for _, f := range ignoredFlags {
		if !c.IsSet(f.name) {
			continue
		}
		if err := f.checkChoice(c.String(f.name)); err != nil && !s.isCelery4() {
			return err
		}
		if s.opts.Python != nil && isMeant(f.name) {
			continue
		}
		s.warn(f.names() + " has no effect: " + f.why)
	}
	for _, name := range []string{"loader", "skip-checks"} {
		if c.IsSet(name) && s.opts.Python == nil {
			s.warn("--" + name + " has no effect: it concerns Python")
		}
	}
	return nil
}

// isCelery4 tells whether the app's Celery takes any value for its options.
func (s *workerSettings) isCelery4() bool {
	return s.opts.Python != nil && strings.HasPrefix(s.opts.Python.Manifest().Software["celery"], "4.")
}

func (s *workerSettings) readTaskOptions(c *cli.Context) (err error) {
	conf := s.conf
	if c.IsSet("accept-content") {
		conf.AcceptContent = commaList(c.String("accept-content"))
	}
	seconds := func(flag string) time.Duration { return flagSeconds(c, flag) }
	given(c, "acks-late", c.Bool, &conf.TaskAcksLate)
	given(c, "ignore-result", c.Bool, &conf.TaskIgnoreResult)
	given(c, "track-started", c.Bool, &conf.TaskTrackStarted)
	given(c, "time-limit", seconds, &conf.TaskTimeLimit)
	given(c, "soft-time-limit", seconds, &conf.TaskSoftTimeLimit)
	late := conf.TaskTimeLimit > 0 && conf.TaskSoftTimeLimit > conf.TaskTimeLimit
	if late && (c.IsSet("time-limit") || c.IsSet("soft-time-limit")) {
		conf.TaskSoftTimeLimit = 0
		s.warn("--soft-time-limit has no effect: it is not less than the time limit")
	}
	given(c, "statedb", c.String, &conf.WorkerStateDB)
	given(c, "result-extended", c.Bool, &conf.ResultExtended)
	given(c, "shutdown-timeout", seconds, &conf.ShutdownTimeout)
	given(c, "settle-timeout", seconds, &conf.SettleTimeout)
	if c.IsSet("result-expires") {
		if conf.ResultExpires, err = parseSeconds(c.String("result-expires")); err != nil {
			return fmt.Errorf("invalid value for '--result-expires': %w", err)
		}
	}
	return nil
}

// pools are the names of Celery's pools.
var pools = []string{"prefork", "eventlet", "gevent", "solo", "processes", "threads", "custom"}

// oneOf refuses a value as Celery's command line does.
func oneOf(value string, known []string) error {
	if !slices.Contains(known, value) {
		return fmt.Errorf("'%s' is not one of '%s'", value, strings.Join(known, "', '"))
	}
	return nil
}

// readLineFormat reads a form of log lines that is a setting.
func (s *workerSettings) readLineFormat(setting, format string, byDefault *lineFormat) lineFormat {
	if format == "" {
		return *byDefault
	}
	f, err := parseLineFormat(format)
	if err != nil {
		s.warn(fmt.Sprintf("%s has no effect on this process: %v", s.conf.Origin(setting), err))
		return *byDefault
	}
	return f
}

// level is the value of -l.
func level(c *cli.Context) (slog.Level, error) {
	level, err := parseLevel(c.String("loglevel"))
	if err != nil {
		return level, fmt.Errorf("invalid value for '-l' / '--loglevel': %w", err)
	}
	return level, nil
}

// concurrency is the value of -c; 0: as many as there are processors.
func concurrency(c *cli.Context) (int, error) {
	value := c.String("concurrency")
	if value == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("invalid value for '-c' / '--concurrency': must be a non-negative integer or 'auto', got '%s'", value)
	}
	return n, nil
}

// checkPool refuses what is no value of -P.
func checkPool(pool string) error {
	if err := oneOf(pool, pools); err != nil {
		return fmt.Errorf("invalid value for '-P' / '--pool': %w", err)
	}
	return nil
}

func flagSeconds(c *cli.Context, name string) time.Duration {
	s, ok := c.Generic(name).(*seconds)
	if !ok {
		return 0
	}
	return time.Duration(*s)
}

// withTimeout bounds a context by --timeout, if that is given.
func withTimeout(ctx context.Context, c *cli.Context) (context.Context, context.CancelFunc) {
	if timeout := flagSeconds(c, "timeout"); timeout > 0 {
		return context.WithTimeout(ctx, timeout)
	}
	return ctx, func() {}
}

func commaList(value string) []string {
	var list []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
