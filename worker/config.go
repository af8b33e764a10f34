package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/tasks"
)

const (
	defaultPrefetchMultiplier = 4
	defaultParkAfter          = 10 * time.Second
	defaultETATaskLimit       = 100_000
	defaultMaxRedeliveries    = 10
	defaultKeepAlive          = 30 * time.Second
	// UnlimitedPrefetch as a PrefetchMultiplier claims whatever there is:
	// Celery's worker_prefetch_multiplier = 0.
	UnlimitedPrefetch = -1
)

// Config is what a worker is made of. Registry and Consumer are required; every
// other field works at its zero value.
type Config struct {
	// Registry holds the tasks this worker runs, with its hooks and middleware.
	Registry *tasks.Registry
	// Consumer claims messages. The worker does not close it. It may also be a
	// broker.Parker, broker.Mover and broker.Queues; without these, messages that are due
	// later are kept in memory, and what needs them is an error of New.
	Consumer broker.Consumer
	// Publisher publishes retries, callbacks, chain steps, chord bodies and what tasks
	// send themselves. Nil: tasks that need it fail. The worker does not close it.
	Publisher broker.Publisher
	// Store keeps results. Nil keeps none: Celery's disabled result backend.
	// The worker does not close it. If it is a backend.Loader and backend.Chords, too,
	// chords are counted and successful tasks can be recognised.
	Store backend.Store

	// Hostname is the node name. Default: celery@<host name>.
	Hostname string
	// Concurrency is how many Go handlers run at the same time. Default: the number of CPUs.
	Concurrency int
	// Autoscale has the number of their slots follow the load, starting with its Min instead of
	// Concurrency. Zero: it stays.
	Autoscale Autoscale
	// PrefetchMultiplier times Concurrency is how many messages the worker holds
	// unacknowledged. UnlimitedPrefetch lifts the limit. Default 4, and more while
	// handlers take so little that the slots would idle: what they run within 5 ms, at
	// most 256 messages. Where it is given, what is acknowledged early and has not started counts, too.
	PrefetchMultiplier int
	// Executors are what runs tasks besides the goroutines that run Go handlers, by the names
	// with which tasks are registered for them (see tasks.Registry.RegisterFor). Each has
	// slots and a share of the prefetch of its own: PrefetchMultiplier times its Concurrency.
	Executors map[string]ExecutorConfig
	// Pool names the executor that operators mean by the worker's pool: Worker.Concurrency,
	// Operations.Resize, Autoscale and SetAutoscale, and with them remote control, concern it and
	// no other. Default: "", the goroutines that run Go handlers.
	Pool string

	// AcceptContent lists the serializers, by name or content type, whose messages are accepted
	// for Go handlers; other executors may read others. Default: json.
	AcceptContent []string
	// MaxDecompressed is how many bytes a compressed message may become; a longer one is
	// refused. Default: 200 times its size and 16 MiB, at most 256 MiB.
	MaxDecompressed int
	// TaskSerializer and TaskCompression say how the messages that the worker publishes
	// are written (task_serializer: json, yaml, msgpack, pickle; task_compression: zlib,
	// bzip2, lzma, zstd, brotli). Default: JSON that is not compressed.
	TaskSerializer, TaskCompression string
	// Signed signs all that the worker publishes besides, in the place of TaskSerializer, and verifies what it reads: package
	// serializer's Signed. nil: what is signed is refused.
	Signed protocol.Serializer
	// Location is the app's time zone. It is used for dates without offset in
	// protocol 1 messages that say utc=false. Default: UTC.
	Location *time.Location

	// Defaults are the settings of tasks that do not say otherwise: Celery's task_acks_late,
	// task_time_limit, task_default_rate_limit and so on.
	Defaults tasks.Options
	// Annotations override what tasks say: Celery's task_annotations. Of the tables, the first
	// that has the task's name counts, and then the first that has "*", which stands for all
	// tasks: as in Celery, what "*" says wins.
	Annotations []map[string]tasks.Options
	// DisableRateLimits ignores all rate limits (worker_disable_rate_limits).
	DisableRateLimits bool
	// ResultExtended adds name, arguments, worker, retries and queue to each
	// result (result_extended).
	ResultExtended bool
	// InheritParentPriority gives callbacks and chain steps the priority of the task
	// before them (task_inherit_parent_priority).
	InheritParentPriority bool
	// ErrbacksOnHeader links the errbacks of chords that are published here to their
	// header's tasks, too (task_allow_error_cb_on_chord_header).
	ErrbacksOnHeader bool
	// ChordJoinTimeout is how long a nested chord header's records are waited for
	// (result_chord_join_timeout). Default 3 s.
	ChordJoinTimeout time.Duration
	// ChordRetryInterval is how often celery.chord_unlock looks (result_chord_retry_interval).
	// Default 1 s.
	ChordRetryInterval time.Duration
	// Route tells the options of a task that is published without saying where to
	// (task_routes). Nil: none.
	Route func(task string) canvas.Options
	// Destination tells the exchange and routing key of a queue (task_queues), as Queue of
	// [canvas.Environment]. Nil: the default exchange, with the queue's name.
	Destination func(queue string) canvas.Destination
	// DefaultQueue is where tasks go that say nothing (task_default_queue). Default: celery.
	DefaultQueue string
	// Deduplicate does not run a redelivered message again whose task has succeeded
	// (worker_deduplicate_successful_tasks). It concerns tasks acknowledged late.
	Deduplicate bool

	// Unknown says what becomes of tasks that are not registered. Default: they fail.
	Unknown tasks.UnknownPolicy
	// UnknownByQueue are the policies of single queues.
	UnknownByQueue map[string]tasks.UnknownPolicy
	// Shares says of which tasks only a share of the messages that come is taken. The others go to the executor of this
	// worker that has the task, too (see [tasks.Registry.RegisterFor]); if none has, to other workers: as
	// Unknown says, where it leaves or forwards what is not registered, else back to their queue. Default: all are taken.
	Shares map[string]tasks.Share
	// Shadows says of which tasks that run in another executor of this worker the Go handler of the same name runs a share of the
	// messages once more, on a copy, when they have succeeded or failed: it is the task's shadow. What comes of both is compared
	// (see Worker.Shadows); nothing that comes of a copy is stored, published or told to anybody. Such a handler must be registered with
	// [tasks.Shadowable]. Of what Shares does not name, nothing runs in Go otherwise. Default: none.
	Shadows map[string]tasks.Share
	// MaxRedeliveries is how often a message is given back because a worker died that
	// was running it, before it is buried among the dead letters. Default 10; negative: no
	// limit.
	MaxRedeliveries int

	// ParkAfter is how far in the future a message must be due to be kept by the broker
	// instead of in memory. Default 10 s.
	ParkAfter time.Duration
	// ETATaskLimit is how many messages that are due later are kept in memory
	// (worker_eta_task_limit), while what the worker holds has less than 128 MiB. Default 100,000. The broker keeps the others.
	ETATaskLimit int

	// StateDB is a file that keeps revoked ids over restarts. "": none.
	StateDB string
	// RevokesMax and RevokeExpires bound what is remembered of revoked tasks.
	// Defaults 50,000 and 3 h.
	RevokesMax    int
	RevokeExpires time.Duration
	// SuccessfulMax and SuccessfulExpires bound what Deduplicate remembers without asking
	// the backend. Defaults 1,000 and 3 h.
	SuccessfulMax     int
	SuccessfulExpires time.Duration

	// ShutdownTimeout is how long a warm shutdown waits for running handlers
	// before it cancels their contexts. Default: as long as they take.
	ShutdownTimeout time.Duration
	// SettleTimeout is how long a warm shutdown waits for a broker or backend that cannot be
	// reached, once no handler runs any more. Default 5 s. A cold shutdown takes 2 s at most.
	SettleTimeout time.Duration
	// SoftShutdownTimeout is how long a cold shutdown lets handlers finish before it cancels
	// their contexts (worker_soft_shutdown_timeout). Default: not at all.
	SoftShutdownTimeout time.Duration
	// SoftShutdownOnIdle waits for as long when nothing runs, too
	// (worker_enable_soft_shutdown_on_idle).
	SoftShutdownOnIdle bool

	// Clock is the logical clock that the worker's events carry. Nil: one of its own.
	Clock *Clock
	// Logger gets Celery's log lines. The attribute "event" says the same in constant words;
	// others hold what varies. Default: slog.Default().
	Logger *slog.Logger
	// Observers are told each step of each task.
	Observers []Observer
	// Hooks are called as those of Registry are, after them: they are this worker's alone.
	Hooks []tasks.Hooks
}

// ExecutorConfig is an executor with its slots.
type ExecutorConfig struct {
	// Executor runs the tasks. Required.
	Executor Executor
	// Concurrency is how many requests it runs at the same time. Default: the number of CPUs.
	Concurrency int
	// Autoscale has the number of its slots follow the load. Zero: it stays.
	Autoscale Autoscale
	// Tasks tells which tasks it runs, with their options. Operations.Restart and Refresh ask it,
	// and have these take the place of all that are registered for the executor (see
	// tasks.Registry.ReplaceFor). Nil: they are always the same.
	Tasks func() map[string][]tasks.Option
	// Restraints are what it cannot do to a request that runs. Zero: it can do everything.
	Restraints Restraints
	// InProcess says that it runs Go handlers: before a request is given to it, its arguments are read.
	InProcess bool
	// AcksLate has its tasks acknowledged late, whatever they and their settings say: requests wait in its slots
	// before they begin.
	AcksLate bool
	// Prefetch is how many messages it holds unacknowledged. Default: PrefetchMultiplier times Concurrency.
	Prefetch int
}

func (c *ExecutorConfig) setDefaults() {
	if c.Autoscale.Max > 0 {
		c.Concurrency = max(c.Autoscale.Min, 1)
	}
	setDefault(&c.Concurrency, runtime.NumCPU())
	setDefault(&c.Autoscale.KeepAlive, defaultKeepAlive)
}

func (c *Config) setDefaults() {
	if c.Hostname == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		c.Hostname = "celery@" + host
	}
	if len(c.AcceptContent) == 0 {
		c.AcceptContent = []string{"json"}
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = new(Clock)
	}
	if c.Autoscale.Max > 0 {
		c.Concurrency = max(c.Autoscale.Min, 1)
	}
	setDefault(&c.Concurrency, runtime.NumCPU())
	setDefault(&c.Autoscale.KeepAlive, defaultKeepAlive)
	c.Executors = maps.Clone(c.Executors)
	c.addOwnExecutors()
	for name, e := range c.Executors {
		e.setDefaults()
		c.Executors[name] = e
	}
	setDefault(&c.PrefetchMultiplier, defaultPrefetchMultiplier)
	setDefault(&c.MaxRedeliveries, defaultMaxRedeliveries)
	setDefault(&c.ParkAfter, defaultParkAfter)
	setDefault(&c.ETATaskLimit, defaultETATaskLimit)
	setDefault(&c.RevokesMax, 50_000)
	setDefault(&c.RevokeExpires, 3*time.Hour)
	setDefault(&c.SuccessfulMax, 1000)
	setDefault(&c.SuccessfulExpires, 3*time.Hour)
	setDefault(&c.ChordJoinTimeout, 3*time.Second)
	setDefault(&c.ChordRetryInterval, time.Second)
	setDefault(&c.SettleTimeout, 5*time.Second)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// addOwnExecutors adds those of the tasks that bring their own.
func (c *Config) addOwnExecutors() {
	if c.Registry == nil {
		return
	}
	for _, name := range c.Registry.Names() {
		entry, ok := c.Registry.Lookup(name)
		if !ok || entry.Own() == nil {
			continue
		}
		if c.Executors == nil {
			c.Executors = map[string]ExecutorConfig{}
		}
		var own ExecutorConfig // without an executor, which is said of it, unless the task brings one
		if maker, ok := entry.Own().(func() ExecutorConfig); ok && maker != nil {
			own = maker()
		}
		c.Executors[entry.Executor] = own
	}
}

// Validate returns every problem of a configuration at once, but for a missing Consumer. New
// does the same.
func (c *Config) Validate() error {
	own := *c
	own.setDefaults()
	return own.validate()
}

// validate returns every problem at once, but for a missing Consumer.
func (c *Config) validate() error {
	var errs []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("worker: "+format, args...))
		}
	}
	check(c.Registry == nil, "Registry is required")
	check(c.Concurrency < 1, "Concurrency must be at least 1, not %d", c.Concurrency)
	check(!c.Autoscale.valid(), "Autoscale must have bounds 0 <= Min <= Max, not %d and %d", c.Autoscale.Min, c.Autoscale.Max)
	for name, e := range c.Executors {
		check(name == "" || e.Executor == nil, "Executors[%q] must have a name and an Executor", name)
		check(e.Concurrency < 1, "Executors[%q].Concurrency must be at least 1, not %d", name, e.Concurrency)
		check(!e.Autoscale.valid(), "Executors[%q].Autoscale must have bounds 0 <= Min <= Max, not %d and %d", name, e.Autoscale.Min, e.Autoscale.Max)
	}
	_, known := c.Executors[c.Pool]
	check(c.Pool != "" && !known, "Pool: there is no executor %q", c.Pool)
	check(c.PrefetchMultiplier < UnlimitedPrefetch, "PrefetchMultiplier must not be %d", c.PrefetchMultiplier)
	for name, d := range map[string]time.Duration{
		"ShutdownTimeout": c.ShutdownTimeout, "SettleTimeout": c.SettleTimeout, "ParkAfter": c.ParkAfter,
		"Autoscale.KeepAlive": c.Autoscale.KeepAlive, "RevokeExpires": c.RevokeExpires, "SuccessfulExpires": c.SuccessfulExpires,
		"ChordJoinTimeout": c.ChordJoinTimeout, "ChordRetryInterval": c.ChordRetryInterval, "SoftShutdownTimeout": c.SoftShutdownTimeout,
	} {
		check(d < 0, "%s must not be negative", name)
	}
	for name, n := range map[string]int{
		"ETATaskLimit": c.ETATaskLimit, "RevokesMax": c.RevokesMax, "SuccessfulMax": c.SuccessfulMax, "MaxDecompressed": c.MaxDecompressed,
	} {
		check(n < 0, "%s must not be negative", name)
	}
	errs = append(errs, c.validatePolicies()...)
	errs = append(errs, c.validateShares()...)
	errs = append(errs, c.validateShadows()...)
	errs = append(errs, c.validateOptions()...)
	_, acceptErr := protocol.NewAccept(c.AcceptContent...)
	_, formatErr := serializer.Format(c.TaskSerializer, c.TaskCompression)
	return errors.Join(append(errs, acceptErr, formatErr)...)
}

// prefetch is the most messages that so many slots hold unacknowledged.
func (c *Config) prefetch(slots int) int {
	if c.PrefetchMultiplier == UnlimitedPrefetch {
		return maxPrefetch
	}
	return min(slots*c.PrefetchMultiplier, maxPrefetch)
}

// maxPrefetch bounds memory; kombu, too, counts to 65,535 and no further.
const maxPrefetch = 65535
