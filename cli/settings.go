package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/worker"
)

// workerSettings is what the settings file, the environment and the worker's flags say.
type workerSettings struct {
	conf      *settings.Settings
	app       string
	hostname  string
	level     slog.Level
	logFormat string
	logfile   string
	pidfile   string
	quiet     bool
	color     bool

	taskEvents        bool
	withoutHeartbeat  bool
	withoutMingle     bool
	withoutGossip     bool
	heartbeatInterval time.Duration

	consumersAgain time.Duration

	pool         string // as the banner names it
	metricsAddr  string
	purge        bool // not done yet
	embedded     bool
	embeddedPort int

	fromsettings.Connections
	worker      worker.Config
	brokerStats brokerStats

	log      *slog.Logger
	warnings []string // one line for each flag without effect
}

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
		conf:        conf,
		app:         c.String("app"),
		hostname:    nodeName(c.String("hostname"), hostName()),
		logFormat:   conf.LogFormat,
		quiet:       c.Bool("quiet"),
		color:       !c.Bool("no-color") && (conf.WorkerLogColor == nil || *conf.WorkerLogColor),
		metricsAddr: conf.MetricsAddr,
		taskEvents:  conf.WorkerSendTaskEvents || c.Bool("task-events"),

		withoutHeartbeat:  c.Bool("without-heartbeat"),
		withoutMingle:     c.Bool("without-mingle"),
		withoutGossip:     c.Bool("without-gossip"),
		heartbeatInterval: flagSeconds(c, "heartbeat-interval"),

		consumersAgain: consumersAgain,

		embedded:     c.Bool("embedded"),
		embeddedPort: c.Int("port"),
		Connections:  readURLs(c, conf),
		warnings:     slices.Concat(conf.Warnings, unheededWarnings(conf)),
	}
	applyWorker(&s.worker, conf)
	given(c, "log-format", c.String, &s.logFormat)
	given(c, "metrics-addr", c.String, &s.metricsAddr)
	s.logfile = nodePath(c.String("logfile"), s.hostname)
	s.pidfile = nodePath(c.String("pidfile"), s.hostname)
	for _, read := range []func(*cli.Context) error{s.readLevel, s.readPool, s.readQueues, s.readTaskOptions, s.readWaiting, s.readUnknown} {
		if err := read(c); err != nil {
			return nil, usage(c, err, false)
		}
	}
	if err := s.readIgnored(c); err != nil {
		return nil, usage(c, err, false)
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
	if !slices.Contains(logFormats, s.logFormat) {
		return fmt.Errorf("invalid value for '--log-format': '%s' is not one of %s", s.logFormat, strings.Join(logFormats, ", "))
	}
	return nil
}

func (s *workerSettings) readPool(c *cli.Context) (err error) {
	s.pool = "goroutines"
	if value := c.String("concurrency"); c.IsSet("concurrency") {
		s.worker.Concurrency = 0
		if value != "auto" {
			if s.worker.Concurrency, err = strconv.Atoi(value); err != nil || s.worker.Concurrency < 0 {
				return fmt.Errorf("invalid value for '-c' / '--concurrency': must be a non-negative integer or 'auto', got '%s'", value)
			}
		}
	}
	if s.worker.Concurrency == 0 {
		s.worker.Concurrency = runtime.GOMAXPROCS(0)
	}
	pool, origin := s.conf.WorkerPool, s.conf.Origin("worker_pool").String()
	isClass := strings.ContainsAny(pool, ".:") // the setting may name one, the option may not
	if c.IsSet("pool") {
		pool, origin, isClass = c.String("pool"), "-P/--pool "+c.String("pool"), false
	}
	if err := oneOf(pool, pools); pool != "" && !isClass && err != nil {
		return fmt.Errorf("invalid value for '-P' / '--pool': %w", err)
	}
	switch {
	case origin == "" || pool == "": // Celery's default, prefork
	case pool == "solo" || strings.HasPrefix(pool, "celery.concurrency.solo"):
		s.pool, s.worker.Concurrency = "solo", 1
	default:
		s.warnings = append(s.warnings, origin+" has no effect: tasks run in goroutines")
	}
	if value := c.String("autoscale"); value != "" {
		if s.worker.Autoscale, err = parseAutoscale(value, os.Getenv("AUTOSCALE_KEEPALIVE")); err != nil {
			return fmt.Errorf("invalid value for '--autoscale': %w", err)
		}
	}
	prefetch := c.Int("prefetch-multiplier")
	switch {
	case prefetch < 0:
		return fmt.Errorf("invalid value for '--prefetch-multiplier': %d is negative", prefetch)
	case c.Bool("disable-prefetch"):
		s.worker.PrefetchMultiplier = 1
	case c.IsSet("prefetch-multiplier") && prefetch == 0:
		s.worker.PrefetchMultiplier = worker.UnlimitedPrefetch
	case c.IsSet("prefetch-multiplier"):
		s.worker.PrefetchMultiplier = prefetch
	}
	return nil
}

func (s *workerSettings) readQueues(c *cli.Context) error {
	var include []string
	if c.IsSet("queues") {
		include = commaList(c.String("queues"))
	}
	queues, err := s.conf.Queues().Select(include, commaList(c.String("exclude-queues")))
	if err != nil {
		return err
	}
	if len(queues) == 0 {
		return errors.New("no queue is left to consume from")
	}
	if s.conf.WorkerDirect {
		queues = append(queues, settings.DirectQueue(s.hostname))
	}
	s.Consumer.Queues = queues
	s.purge = c.Bool("purge")
	return nil
}

func (s *workerSettings) readIgnored(c *cli.Context) error {
	for _, f := range ignoredFlags {
		if !c.IsSet(f.name) {
			continue
		}
		if err := oneOf(c.String(f.name), f.choices); f.choices != nil && err != nil {
			return fmt.Errorf("invalid value for '--%s': %w", f.name, err)
		}
		s.warnings = append(s.warnings, f.names()+" has no effect: "+f.why)
	}
	if s.app != "" && c.String("config") == "" {
		s.warnings = append(s.warnings, "-A/--app "+s.app+" is only a name here: the app's settings and routes are not read. "+
			"Export them with scripts/export_settings.py and give them with --config")
	}
	for _, name := range []string{"loader", "skip-checks"} {
		if c.IsSet(name) {
			s.warnings = append(s.warnings, "--"+name+" has no effect: it concerns Python")
		}
	}
	return nil
}

func (s *workerSettings) readTaskOptions(c *cli.Context) error {
	s.worker.Hostname = s.hostname
	if c.IsSet("accept-content") {
		s.worker.AcceptContent = commaList(c.String("accept-content"))
	}
	seconds := func(flag string) time.Duration { return flagSeconds(c, flag) }
	given(c, "acks-late", c.Bool, s.worker.Defaults.AcksLate)
	given(c, "ignore-result", c.Bool, s.worker.Defaults.IgnoreResult)
	given(c, "track-started", c.Bool, s.worker.Defaults.TrackStarted)
	given(c, "time-limit", seconds, s.worker.Defaults.TimeLimit)
	given(c, "soft-time-limit", seconds, s.worker.Defaults.SoftTimeLimit)
	if dropLateSoftLimit(&s.worker.Defaults) && (c.IsSet("time-limit") || c.IsSet("soft-time-limit")) {
		s.warnings = append(s.warnings, "--soft-time-limit has no effect: it is not less than the time limit")
	}
	given(c, "statedb", c.String, &s.worker.StateDB)
	s.worker.StateDB = nodePath(s.worker.StateDB, s.hostname)
	given(c, "result-extended", c.Bool, &s.worker.ResultExtended)
	given(c, "shutdown-timeout", seconds, &s.worker.ShutdownTimeout)
	given(c, "settle-timeout", seconds, &s.worker.SettleTimeout)
	expires := s.conf.ResultExpires
	if c.IsSet("result-expires") {
		var err error
		if expires, err = parseSeconds(c.String("result-expires")); err != nil {
			return fmt.Errorf("invalid value for '--result-expires': %w", err)
		}
	}
	s.Results.Expires = fromsettings.ForEver(expires)
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

// readConsumer reads what concerns the broker, which may be an embedded one by now.
func (s *workerSettings) readConsumer() error {
	s.Consumer.Hostname, s.Consumer.Logger = s.hostname, s.log
	s.Consumer.MaxReconnects = s.conf.BrokerConnectionMaxRetries
	if !s.conf.BrokerConnectionRetry {
		s.Consumer.MaxReconnects = -1
	}
	if err := s.Read(s.conf); err != nil {
		return err
	}
	s.warnings = append(s.warnings, s.Warnings...)
	s.worker.VisibilityTimeout = s.Consumer.VisibilityTimeout
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
