package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/tasks"
)

const (
	defaultPrefetchMultiplier = 4
	defaultVisibilityTimeout  = time.Hour
	// UnlimitedPrefetch as a PrefetchMultiplier claims whatever there is:
	// Celery's worker_prefetch_multiplier = 0.
	UnlimitedPrefetch = -1
)

// Config is what a worker is made of. Registry and Consumer are required; every
// other field works at its zero value.
type Config struct {
	// Registry holds the tasks this worker runs.
	Registry *tasks.Registry
	// Consumer claims messages. The worker does not close it.
	Consumer broker.Consumer
	// Store keeps results. Nil keeps none: Celery's disabled result backend.
	// The worker does not close it.
	Store backend.Store

	// Hostname is the node name. Default: celery@<host name>.
	Hostname string
	// Concurrency is how many handlers run at the same time. Default: the number of CPUs.
	Concurrency int
	// PrefetchMultiplier times Concurrency is how many messages the worker holds
	// unacknowledged. UnlimitedPrefetch lifts the limit. Default 4, and more while
	// handlers take so little that the slots would idle: what they run within 5 ms, at
	// most 256 messages.
	PrefetchMultiplier int
	// Pool runs the handlers. Default: goroutines of this process.
	Pool Pool

	// AcceptContent lists the serializers, by name or content type, whose
	// messages are accepted. Default: json.
	AcceptContent []string
	// Location is the app's time zone. It is used for dates without offset in
	// protocol 1 messages that say utc=false. Default: UTC.
	Location *time.Location

	// AcksLate acknowledges a message after its task has run instead of just
	// before (task_acks_late). A task's own option wins.
	AcksLate bool
	// IgnoreResult stores no results (task_ignore_result). The message's header
	// wins over the task's own option, and that over this.
	IgnoreResult bool
	// StoreErrorsEvenIfIgnored stores failures even so (task_store_errors_even_if_ignored).
	StoreErrorsEvenIfIgnored bool
	// TrackStarted stores the state STARTED when a task starts (task_track_started).
	TrackStarted bool
	// ResultExtended adds name, arguments, worker, retries and queue to each
	// result (result_extended).
	ResultExtended bool

	// VisibilityTimeout is the broker's: leases are renewed at a third of it.
	// Default one hour.
	VisibilityTimeout time.Duration
	// ShutdownTimeout is how long a warm shutdown waits for running handlers
	// before it cancels their contexts. Default: as long as they take.
	ShutdownTimeout time.Duration

	// Logger gets Celery's log lines. Default: slog.Default().
	Logger *slog.Logger
	// Observers are told each step of each task.
	Observers []Observer
}

func (c *Config) setDefaults() {
	if c.Hostname == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		c.Hostname = "celery@" + host
	}
	if c.Concurrency == 0 {
		c.Concurrency = runtime.NumCPU()
	}
	if c.PrefetchMultiplier == 0 {
		c.PrefetchMultiplier = defaultPrefetchMultiplier
	}
	if c.Pool == nil {
		c.Pool = goroutines{}
	}
	if len(c.AcceptContent) == 0 {
		c.AcceptContent = []string{"json"}
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	if c.VisibilityTimeout == 0 {
		c.VisibilityTimeout = defaultVisibilityTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// validate returns every problem at once.
func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("worker: "+format, args...)) }
	if c.Registry == nil {
		bad("Registry is required")
	}
	if c.Consumer == nil {
		bad("Consumer is required")
	}
	if c.Concurrency < 1 {
		bad("Concurrency must be at least 1, not %d", c.Concurrency)
	}
	if c.PrefetchMultiplier < UnlimitedPrefetch {
		bad("PrefetchMultiplier must not be %d", c.PrefetchMultiplier)
	}
	if c.VisibilityTimeout < 0 {
		bad("VisibilityTimeout must not be negative")
	}
	if c.ShutdownTimeout < 0 {
		bad("ShutdownTimeout must not be negative")
	}
	return errors.Join(errs...)
}

// prefetch is the most messages the worker holds unacknowledged.
func (c *Config) prefetch() int {
	if c.PrefetchMultiplier == UnlimitedPrefetch {
		return maxPrefetch
	}
	return min(c.Concurrency*c.PrefetchMultiplier, maxPrefetch)
}

// maxPrefetch bounds memory; kombu, too, counts to 65,535 and no further.
const maxPrefetch = 65535
