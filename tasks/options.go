package tasks

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apium/apium/protocol/canvas"
)

// Options are the settings of one task. A nil field leaves the decision to the
// worker's configuration, or where that has none to the default given here.
type Options struct {
	AcksLate           *bool // acknowledge after the task has run
	AcksOnFailure      *bool // late: acknowledge a task that failed (default true), not reject it
	AcksOnTimeout      *bool // late: acknowledge a task that ran out of time (default true), not requeue it
	RejectOnWorkerLost *bool // late: requeue a task whose goroutine ended without an outcome (default false)
	RetryOnWorkerLost  *bool // retry such a task (default false)

	IgnoreResult             *bool
	TrackStarted             *bool
	StoreErrorsEvenIfIgnored *bool
	SendEvents               *bool // default true
	Trail                    *bool // note the tasks it publishes as its children; default true

	MaxRetries *int           // negative: no limit; default 3
	RetryDelay *time.Duration // before a retry that names no countdown; default 180 s
	AutoRetry  *AutoRetryPolicy

	TimeLimit     *time.Duration // hard; 0: none
	SoftTimeLimit *time.Duration // 0: none
	RateLimit     *string        // "10/s", "100/m", "5/h"; "": none

	Publishing canvas.Options // what the task is published with, unless a call says otherwise

	Throws  func(error) bool // errors that are expected: logged with INFO and without traceback
	Errback bool             // called with the failed request, its exception and traceback

	params *string
	own    any
	shadow bool // see Shadowable
}

// Validate reports every setting that cannot be.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.RateLimit != nil {
		if _, err := ParseRateLimit(*o.RateLimit); err != nil {
			errs = append(errs, err)
		}
	}
	if o.RetryDelay != nil && *o.RetryDelay < 0 {
		bad("RetryDelay must not be negative")
	}
	if p := o.AutoRetry; p != nil && (p.Backoff < 0 || p.BackoffMax < 0) {
		bad("RetryBackoff and RetryBackoffMax must not be negative")
	}
	hard, soft := o.TimeLimit, o.SoftTimeLimit
	if hard != nil && *hard < 0 || soft != nil && *soft < 0 {
		bad("time limits must not be negative")
	}
	if hard != nil && soft != nil && *hard > 0 && *soft > *hard {
		bad("SoftTimeLimit must be less than or equal to TimeLimit")
	}
	return errors.Join(errs...)
}

// Override takes over every setting that other has.
func (o *Options) Override(other Options) {
	override(&o.AcksLate, other.AcksLate)
	override(&o.AcksOnFailure, other.AcksOnFailure)
	override(&o.AcksOnTimeout, other.AcksOnTimeout)
	override(&o.RejectOnWorkerLost, other.RejectOnWorkerLost)
	override(&o.RetryOnWorkerLost, other.RetryOnWorkerLost)
	override(&o.IgnoreResult, other.IgnoreResult)
	override(&o.TrackStarted, other.TrackStarted)
	override(&o.StoreErrorsEvenIfIgnored, other.StoreErrorsEvenIfIgnored)
	override(&o.SendEvents, other.SendEvents)
	override(&o.Trail, other.Trail)
	override(&o.MaxRetries, other.MaxRetries)
	override(&o.RetryDelay, other.RetryDelay)
	override(&o.AutoRetry, other.AutoRetry)
	override(&o.TimeLimit, other.TimeLimit)
	override(&o.SoftTimeLimit, other.SoftTimeLimit)
	override(&o.RateLimit, other.RateLimit)
	o.Publishing = slices.Concat(o.Publishing, other.Publishing)
	if other.Throws != nil {
		o.Throws = other.Throws
	}
	o.Errback = o.Errback || other.Errback
}

func override[T any](field **T, other *T) {
	if other != nil {
		*field = other
	}
}

// Option is a setting given to Registry.Register. The names are those of Celery's
// task options.
type Option interface{ setTask(*Options) }

// RetryOption is a setting of one retry, given to Retry.
type RetryOption interface{ setRetry(*RetryError) }

// SharedOption is a setting that tasks and single retries have.
type SharedOption interface {
	Option
	RetryOption
}

type taskOption func(*Options)

func (f taskOption) setTask(o *Options) { f(o) }

type retryOption func(*RetryError)

func (f retryOption) setRetry(r *RetryError) { f(r) }

type sharedOption struct {
	taskOption
	retryOption
}

// Params gives a function the parameter list of the Python task it stands for:
//
//	tasks.Params("x, y, z=None, *args, **kwargs")
//
// Paste it from the def. Arguments are then bound by Python's rules, by position or
// by name, and wrong calls fail with Python's own TypeError. Positional-only (/) and
// keyword-only (*) parameters are understood, annotations are ignored, and defaults
// must be literals.
//
// Each parameter binds to the function's parameter at the same place, after a
// leading context. *args binds to a slice or to the variadic parameter (which stands
// last in Go), **kwargs to a map with string keys.
//
// For a gocelery task it names the arguments that come by position.
func Params(pythonSignature string) Option {
	return taskOption(func(o *Options) { o.params = &pythonSignature })
}

// AcksLate says whether the message is acknowledged after the task has run, not
// when it starts.
func AcksLate(late bool) Option { return taskOption(func(o *Options) { o.AcksLate = &late }) }

// AcksOnFailure says whether a task that is acknowledged late and fails is
// acknowledged. If not, the message is rejected: dropped, and announced so.
func AcksOnFailure(ack bool) Option { return taskOption(func(o *Options) { o.AcksOnFailure = &ack }) }

// AcksOnTimeout says whether a task that is acknowledged late and runs out of its
// hard time limit is acknowledged. If not, it goes back to its queue to run again.
func AcksOnTimeout(ack bool) Option { return taskOption(func(o *Options) { o.AcksOnTimeout = &ack }) }

// AcksOnFailureOrTimeout sets AcksOnFailure and AcksOnTimeout, which Celery 5.6 and
// before do not tell apart.
func AcksOnFailureOrTimeout(ack bool) Option {
	return taskOption(func(o *Options) { o.AcksOnFailure, o.AcksOnTimeout = &ack, &ack })
}

// RejectOnWorkerLost says what becomes of a task that is acknowledged late and whose
// goroutine ends without an outcome (runtime.Goexit), which is what a lost process is to
// Celery: with true its message goes back to its queue, with false the task fails with
// WorkerLostError. What a worker held that died as a whole always runs again.
func RejectOnWorkerLost(reject bool) Option {
	return taskOption(func(o *Options) { o.RejectOnWorkerLost = &reject })
}

// RetryOnWorkerLost says whether a task whose goroutine ends without an outcome
// (runtime.Goexit) is retried, as if it had returned Retry. It comes before
// RejectOnWorkerLost.
func RetryOnWorkerLost(retry bool) Option {
	return taskOption(func(o *Options) { o.RetryOnWorkerLost = &retry })
}

// IgnoreResult says whether to drop the task's result and states.
func IgnoreResult(ignore bool) Option {
	return taskOption(func(o *Options) { o.IgnoreResult = &ignore })
}

// TrackStarted says whether the state STARTED is stored when the task begins.
func TrackStarted(track bool) Option { return taskOption(func(o *Options) { o.TrackStarted = &track }) }

// StoreErrorsEvenIfIgnored says whether failures are stored although results are ignored.
func StoreErrorsEvenIfIgnored(store bool) Option {
	return taskOption(func(o *Options) { o.StoreErrorsEvenIfIgnored = &store })
}

// SendEvents says whether the task's events are sent when the worker sends any.
func SendEvents(send bool) Option { return taskOption(func(o *Options) { o.SendEvents = &send }) }

// Trail says whether the record of the task names the tasks it has published as its
// children.
func Trail(trail bool) Option { return taskOption(func(o *Options) { o.Trail = &trail }) }

// RateLimit bounds how often a worker starts the task: "10/s", "100/m", "5/h", or a
// number of times per second. It holds for each worker.
func RateLimit(limit string) Option { return taskOption(func(o *Options) { o.RateLimit = &limit }) }

// RetryDelay is how long a retry waits that names no countdown or ETA
// (default_retry_delay). Default 180 s.
func RetryDelay(delay time.Duration) Option {
	return taskOption(func(o *Options) { o.RetryDelay = &delay })
}

// Throws names the errors that are part of normal operation: they are stored as any
// other, but logged with level INFO and without a traceback.
func Throws(expected func(error) bool) Option {
	return taskOption(func(o *Options) { o.Throws = expected })
}

// MaxRetries is how many retries a task may have; a negative number lifts the limit.
// Default 3.
func MaxRetries(n int) SharedOption {
	return sharedOption{
		func(o *Options) { o.MaxRetries = &n },
		func(r *RetryError) { r.MaxRetries = &n },
	}
}

// TimeLimit is the hard limit of a run: the task fails with TimeLimitExceeded, and its
// slot is free again although the handler may go on. 0: none.
func TimeLimit(limit time.Duration) Option {
	return taskOption(func(o *Options) { o.TimeLimit = &limit })
}

// SoftTimeLimit cancels the handler's context with the cause ErrSoftTimeLimit. 0: none.
func SoftTimeLimit(limit time.Duration) Option {
	return taskOption(func(o *Options) { o.SoftTimeLimit = &limit })
}
