package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/worker"
)

// workerSettings is what the worker's flags and environment say.
type workerSettings struct {
	app       string
	hostname  string
	queues    []string
	level     slog.Level
	logFormat string
	logfile   string
	pidfile   string
	quiet     bool
	color     bool

	pool         string // as the banner names it
	metricsAddr  string
	embedded     bool
	embeddedPort int

	connections
	worker      worker.Config
	consumer    redisbroker.Config
	brokerStats brokerStats

	log      *slog.Logger
	warnings []string // one line for each flag without effect
}

// readWorkerSettings checks every flag whose type does not check itself.
func readWorkerSettings(c *cli.Context) (*workerSettings, error) {
	for _, f := range missingFlags {
		if c.IsSet(f.name) {
			return nil, fmt.Errorf("option '--%s': %s", f.name, f.why)
		}
	}
	if c.IsSet("config") {
		return nil, errors.New("option '--config': settings modules are Python; give options or environment variables")
	}
	if c.Args().Present() {
		return nil, fmt.Errorf("got unexpected argument '%s'", c.Args().First())
	}
	s := &workerSettings{
		app:          c.String("app"),
		hostname:     nodeName(c.String("hostname"), hostName()),
		logFormat:    c.String("log-format"),
		quiet:        c.Bool("quiet"),
		color:        !c.Bool("no-color"),
		metricsAddr:  c.String("metrics-addr"),
		embedded:     c.Bool("embedded"),
		embeddedPort: c.Int("port"),
		connections:  readURLs(c),
	}
	s.logfile = nodePath(c.String("logfile"), s.hostname)
	s.pidfile = nodePath(c.String("pidfile"), s.hostname)
	for _, read := range []func(*cli.Context) error{s.readLevel, s.readPool, s.readQueues, s.readTaskOptions} {
		if err := read(c); err != nil {
			return nil, err
		}
	}
	s.readIgnored(c)
	return s, nil
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
	s.worker.Concurrency = runtime.GOMAXPROCS(0)
	if value := c.String("concurrency"); value != "auto" && value != "0" {
		if s.worker.Concurrency, err = strconv.Atoi(value); err != nil || s.worker.Concurrency < 0 {
			return fmt.Errorf("invalid value for '-c' / '--concurrency': must be a non-negative integer or 'auto', got '%s'", value)
		}
	}
	switch pool := c.String("pool"); pool {
	case "":
	case "solo":
		s.pool, s.worker.Concurrency = "solo", 1
	default:
		s.warnings = append(s.warnings, "-P/--pool "+pool+" has no effect: tasks run in goroutines")
	}
	prefetch := c.Int("prefetch-multiplier")
	switch {
	case prefetch < 0:
		return fmt.Errorf("invalid value for '--prefetch-multiplier': %d is negative", prefetch)
	case c.Bool("disable-prefetch"):
		prefetch = 1
	case prefetch == 0:
		prefetch = worker.UnlimitedPrefetch
	}
	if c.IsSet("prefetch-multiplier") || c.Bool("disable-prefetch") {
		s.worker.PrefetchMultiplier = prefetch // otherwise the worker adapts it
	}
	return nil
}

func (s *workerSettings) readQueues(c *cli.Context) error {
	excluded := commaList(c.String("exclude-queues"))
	for _, q := range commaList(c.String("queues")) {
		if !slices.Contains(excluded, q) && !slices.Contains(s.queues, q) {
			s.queues = append(s.queues, q)
		}
	}
	if len(s.queues) == 0 {
		return errors.New("no queue is left to consume from")
	}
	return nil
}

func (s *workerSettings) readIgnored(c *cli.Context) {
	for _, f := range ignoredFlags {
		if c.IsSet(f.name) {
			s.warnings = append(s.warnings, f.names()+" has no effect: "+f.why)
		}
	}
	for _, name := range []string{"loader", "skip-checks"} {
		if c.IsSet(name) {
			s.warnings = append(s.warnings, "--"+name+" has no effect: it concerns Python")
		}
	}
}

func (s *workerSettings) readTaskOptions(c *cli.Context) error {
	s.worker.Hostname = s.hostname
	s.worker.AcceptContent = commaList(c.String("accept-content"))
	acksLate, ignoreResult, trackStarted := c.Bool("acks-late"), c.Bool("ignore-result"), c.Bool("track-started")
	s.worker.Defaults.AcksLate, s.worker.Defaults.IgnoreResult, s.worker.Defaults.TrackStarted = &acksLate, &ignoreResult, &trackStarted
	s.worker.ResultExtended = c.Bool("result-extended")
	s.worker.ShutdownTimeout = flagSeconds(c, "shutdown-timeout")
	expires, err := parseSeconds(c.String("result-expires"))
	if err != nil {
		return fmt.Errorf("invalid value for '--result-expires': %w", err)
	}
	if s.results.Expires = expires; expires == 0 {
		s.results.Expires = -1 // for ever
	}
	return nil
}

// readConsumer reads what concerns the broker; transport options win over flags.
func (s *workerSettings) readConsumer(c *cli.Context) error {
	s.consumer = redisbroker.Config{
		Queues:             broker.Named(s.queues...),
		VisibilityTimeout:  flagSeconds(c, "visibility-timeout"),
		QueueOrderStrategy: c.String("queue-order-strategy"),
		Hostname:           s.hostname,
		Logger:             s.log,
	}
	if err := s.read(c, &s.consumer); err != nil {
		return err
	}
	s.worker.VisibilityTimeout = s.consumer.VisibilityTimeout
	return nil
}

func flagSeconds(c *cli.Context, name string) time.Duration {
	s, ok := c.Generic(name).(*seconds)
	if !ok {
		return 0
	}
	return time.Duration(*s)
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
