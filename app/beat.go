package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/internal/build"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/nodename"
	"github.com/apium/apium/internal/reconnect"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// BeatOptions say of a beat what Celery's settings do not. The zero value is a beat for beat_schedule, and what
// tasks.Registry.Periodic has registered.
type BeatOptions struct {
	// Hostname is the node name, as that of a worker. Default: celerybeat@%h.
	Hostname string
	// Sources are where entries come from, besides beat_schedule: what they have comes before that. They are
	// the caller's to close.
	Sources []beat.Source
	// Schedule names what all beats of a project have in common, and those of others on the same broker do
	// not. Default: the setting apium_beat_schedule_id, or beat.DefaultSchedule.
	Schedule string
	// Registry has periodic tasks, which come last; tasks whose options hold for what is sent of them; and hooks
	// that are told. Nil: none.
	Registry *tasks.Registry
	// MaxInterval is the longest time between two looks at the schedule. Default: beat_max_loop_interval, or 5 min.
	MaxInterval time.Duration
	// LeadFor is how long a beat that has died without a word is waited for until another one sends: a second or more. Default: 10 s.
	LeadFor time.Duration
	// Signed signs what is sent, where workers take nothing else: package protocol/serializer's Signed. Nil: it is not signed.
	Signed protocol.Serializer

	// Logger gets Celery's log lines. Default: slog.Default().
	Logger *slog.Logger
	// Registerer is where the beat's metrics are registered while it runs; see Options.Registerer.
	Registerer prometheus.Registerer
}

// Beat sends periodic tasks: all that `celery beat` is. Its methods are safe for concurrent use.
type Beat struct {
	conf    *settings.Settings
	opts    BeatOptions
	log     *slog.Logger
	places  fromsettings.Connections
	sources []beat.Source

	figures *metrics.Beat
	wanted  atomic.Bool // somebody sees the figures
	ran     atomic.Bool
	engine  atomic.Pointer[beat.Beat] // nil: it is not connected
}

// NewBeat makes a beat. It takes no signals, prints nothing and connects to nothing yet; ctx is not kept.
// All that is wrong with the settings and the options is told at once, in a *ConfigError; what is wrong
// with single entries is logged when the beat runs.
func NewBeat(ctx context.Context, conf *settings.Settings, opts BeatOptions) (*Beat, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conf, err := conf.Resolve()
	if err != nil {
		return nil, &ConfigError{err}
	}
	places := fromsettings.URLs(conf)
	places.Python.Stores = true // a result backend that is not known here is no concern of a beat
	places.Logger = opts.Logger
	if err := places.Read(conf); err != nil {
		return nil, &ConfigError{err}
	}
	b, err := newBeat(conf, opts, places)
	if err != nil {
		return nil, &ConfigError{err}
	}
	conf.Warnings = slices.Concat(conf.Warnings, places.Warnings)
	return b, nil
}

// beatName is what beats are called, before the @.
const beatName = "celerybeat"

// newBeat is NewBeat for settings that were resolved and read.
func newBeat(conf *settings.Settings, opts BeatOptions, places fromsettings.Connections) (*Beat, error) {
	if err := checkScheduler(conf, opts); err != nil {
		return nil, err
	}
	opts.Hostname = nodename.Of(cmp.Or(opts.Hostname, beatName+"@%h"), nodename.Host())
	opts.Schedule = cmp.Or(opts.Schedule, conf.BeatScheduleID, beat.DefaultSchedule)
	opts.MaxInterval = cmp.Or(opts.MaxInterval, conf.BeatMaxLoopInterval, beat.DefaultMaxInterval)
	b := &Beat{conf: conf, opts: opts, log: opts.Logger, places: places}
	if b.log == nil {
		b.log = slog.Default()
	}
	b.sources = append(slices.Clone(opts.Sources), BeatSchedule(conf))
	if entries := registered(opts.Registry, conf.Location()); len(entries) > 0 {
		b.sources = append(b.sources, beat.NewStatic("program", entries...))
	}
	gatherer, _ := opts.Registerer.(prometheus.Gatherer)
	b.figures = metrics.NewBeat(metrics.BeatOptions{Version: build.Version(), Ready: b.Ready, Gatherer: gatherer})
	return b, nil
}

// checkScheduler refuses what beat_scheduler names if nobody has brought it.
func checkScheduler(conf *settings.Settings, opts BeatOptions) error {
	name := conf.BeatScheduler
	if len(opts.Sources) > 0 || name == "" || name == "celery.beat:PersistentScheduler" || name == "celery.beat.PersistentScheduler" {
		return nil
	}
	return fmt.Errorf("beat_scheduler: '%s' is not what sends beat_schedule: give BeatOptions.Sources what has its entries, such as package djangobeat", name)
}

// Hostname is the node name: celerybeat@web1.
func (b *Beat) Hostname() string { return b.opts.Hostname }

// Broker is the URL that messages go to, without its password.
func (b *Beat) Broker() string { return b.places.Written.String() }

// Schedule is the name of the schedule: see BeatOptions.Schedule.
func (b *Beat) Schedule() string { return b.opts.Schedule }

// MaxInterval is the longest time between two looks at the schedule.
func (b *Beat) MaxInterval() time.Duration { return b.opts.MaxInterval }

// Handler serves /metrics, /livez and /readyz, as that of a worker.
func (b *Beat) Handler() http.Handler {
	b.wanted.Store(true)
	return b.figures.Handler()
}

// Ready is nil while the beat works, whether it sends or stands by; otherwise it says why it does not.
func (b *Beat) Ready() error {
	engine := b.engine.Load()
	if engine == nil {
		return errNotConnected
	}
	return engine.Working()
}

// Alive is an error once the beat has not looked at its schedule for far too long: it is stuck, and only a restart helps.
// A broker that is away is no such reason.
func (b *Beat) Alive() error {
	if engine := b.engine.Load(); engine != nil {
		return engine.Alive()
	}
	return nil
}

// Run connects, and sends what is due until ctx is done. Then sources are told of all runs, and it returns nil.
// While the broker cannot be reached, it tries again as Worker.Run does; later it goes on when that is back.
func (b *Beat) Run(ctx context.Context) error {
	if b.ran.Swap(true) {
		return errRanBefore
	}
	for _, warning := range b.conf.Warnings {
		b.log.Warn(warning, logline.EventKey, "Configuration warning", "warning", warning)
	}
	endMetrics, err := b.serveMetrics()
	if err != nil {
		return err
	}
	defer endMetrics()
	publisher, err := b.connect(ctx)
	if err != nil {
		return unlessDone(ctx, err)
	}
	defer func() { _ = publisher.Close() }() // nothing is left to be said
	asking := beside(func() { b.warnOfOthers(ctx, publisher) })
	answering := beside(func() { b.answer(ctx, publisher) })
	err = b.serve(ctx, publisher, b.opts.Registry)
	asking()
	answering()
	return err
}

// connect connects to the broker, and tries again while it cannot be reached.
func (b *Beat) connect(ctx context.Context) (fromsettings.Publisher, error) {
	for try := 1; ; try++ {
		publisher, err := b.places.OpenPublisher(ctx)
		if err == nil {
			return publisher, nil
		}
		limit := b.conf.BrokerConnectionMaxRetries
		if ctx.Err() != nil || b.places.Misconfigured(err) || !b.conf.BrokerConnectionRetry || limit > 0 && try > limit {
			return nil, connectionError(err, RoleBroker, b.places.Written)
		}
		delay := reconnect.Delay(try)
		b.log.Error(fmt.Sprintf("beat: Connection error: %s. Trying again in %.1f seconds...", err, delay.Seconds()),
			logline.EventKey, "Cannot connect to the broker", "error", err, "try", try, "delay", delay.Seconds())
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// serve sends until ctx is done, with a publisher that is connected.
func (b *Beat) serve(ctx context.Context, publisher fromsettings.Publisher, reg *tasks.Registry) error {
	producer, err := b.producer(publisher, reg)
	if err != nil {
		return &ConfigError{err}
	}
	slots, err := b.slots(publisher)
	if err != nil {
		return &ConfigError{err}
	}
	cfg := beat.Config{
		Sources: b.sources, Producer: producer, Slots: slots, Schedule: b.opts.Schedule, Node: b.opts.Hostname,
		MaxInterval: b.opts.MaxInterval, LeadFor: b.opts.LeadFor, CronStartingDeadline: b.conf.BeatCronStartingDeadline, Observer: b.figures, Logger: b.log,
	}
	engine, err := beat.New(cfg)
	if err != nil {
		return &ConfigError{err}
	}
	b.engine.Store(engine)
	defer b.engine.Store(nil)
	engine.Run(ctx)
	return nil
}

// serveMetrics registers and serves metrics, if they are wanted.
func (b *Beat) serveMetrics() (end func(), err error) {
	unregister := func() {}
	if to := b.opts.Registerer; to != nil {
		if err := to.Register(b.figures); err != nil {
			return nil, &ConfigError{err}
		}
		unregister = func() { to.Unregister(b.figures) }
	}
	addr := b.conf.MetricsAddr
	if addr == "" {
		return unregister, nil
	}
	server, err := b.figures.Listen(addr)
	if err != nil {
		unregister()
		return nil, &ConfigError{err}
	}
	b.log.Info("Metrics at http://"+server.Addr()+"/metrics", logline.EventKey, "Metrics are served", "address", server.Addr())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(ctx) // scrapes under way may be cut short
		unregister()
	}, nil
}
