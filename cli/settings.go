package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/nodename"
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
}

// warn has the worker warn of a flag without effect.
func (s *workerSettings) warn(line string) { s.warnings = append(s.warnings, line) }

// readWorkerSettings checks every flag whose type does not check itself.
func readWorkerSettings(c *cli.Context) (*workerSettings, error) {
	for _, f := range missingFlags {
		if c.IsSet(f.name) {
			return nil, usage(c, fmt.Errorf("option '--%s': %s", f.name, f.why), false)
		}
	}
	conf, err := loadSettings(c, c.Args().Slice())
	if err != nil {
		return nil, err
	}
	if err := checkApp(c, conf); err != nil {
		return nil, err
	}
	s := &workerSettings{
		conf: conf,
		opts: app.Options{
			Hostname:          nodename.Of(c.String("hostname"), nodename.Host()),
			ExcludeQueues:     commaList(c.String("exclude-queues")),
			WithoutHeartbeat:  c.Bool("without-heartbeat"),
			WithoutMingle:     c.Bool("without-mingle") || c.Bool("embedded"), // nobody else can be there
			WithoutGossip:     c.Bool("without-gossip"),
			HeartbeatInterval: flagSeconds(c, "heartbeat-interval"),
			Shown:             conf.Table,
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
		s.readLevel, s.readPool, s.readQueues, s.readTaskOptions, s.readWaiting, s.readUnknown, s.readIgnored,
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
	if s.level, err = parseLevel(c.String("loglevel")); err != nil {
		return fmt.Errorf("invalid value for '-l' / '--loglevel': %w", err)
	}
	if !slices.Contains(logFormats, s.conf.LogFormat) {
		return fmt.Errorf("invalid value for '--log-format': '%s' is not one of %s", s.conf.LogFormat, strings.Join(logFormats, ", "))
	}
	return nil
}

func (s *workerSettings) readPool(c *cli.Context) (err error) {
	s.pool = "goroutines"
	if value := c.String("concurrency"); c.IsSet("concurrency") {
		s.conf.WorkerConcurrency = 0
		if value != "auto" {
			if s.conf.WorkerConcurrency, err = strconv.Atoi(value); err != nil || s.conf.WorkerConcurrency < 0 {
				return fmt.Errorf("invalid value for '-c' / '--concurrency': must be a non-negative integer or 'auto', got '%s'", value)
			}
		}
	}
	pool, origin := s.conf.WorkerPool, s.conf.Origin("worker_pool").String()
	isClass := strings.ContainsAny(pool, ".:") // the setting may name one, the option may not
	if c.IsSet("pool") {
		pool, origin, isClass = c.String("pool"), "-P/--pool "+c.String("pool"), false
		s.conf.WorkerPool = pool
	}
	if err := oneOf(pool, pools); pool != "" && !isClass && err != nil {
		return fmt.Errorf("invalid value for '-P' / '--pool': %w", err)
	}
	switch {
	case origin == "" || pool == "": // Celery's default, prefork
	case pool == "solo" || strings.HasPrefix(pool, "celery.concurrency.solo"):
		s.pool = "solo"
	default:
		s.warn(origin + " has no effect: tasks run in goroutines")
	}
	if value := c.String("autoscale"); value != "" {
		if s.opts.Autoscale, err = parseAutoscale(value, os.Getenv("AUTOSCALE_KEEPALIVE")); err != nil {
			return fmt.Errorf("invalid value for '--autoscale': %w", err)
		}
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

func (s *workerSettings) readQueues(c *cli.Context) error {
	if c.IsSet("queues") {
		s.opts.Queues = commaList(c.String("queues"))
	}
	queues, err := fromsettings.Consumed(s.conf, s.opts.Queues, s.opts.ExcludeQueues, s.opts.Hostname)
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
		if err := oneOf(c.String(f.name), f.choices); f.choices != nil && err != nil {
			return fmt.Errorf("invalid value for '--%s': %w", f.name, err)
		}
		s.warn(f.names() + " has no effect: " + f.why)
	}
	if s.app != "" && c.String("config") == "" {
		s.warn("-A/--app " + s.app + " is only a name here: the app's settings and routes are not read. " +
			"Export them with scripts/export_settings.py and give them with --config")
	}
	for _, name := range []string{"loader", "skip-checks"} {
		if c.IsSet(name) {
			s.warn("--" + name + " has no effect: it concerns Python")
		}
	}
	return nil
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
