package tasks

import (
	"errors"
	"fmt"
	"time"
)

// Causes of a cancelled handler context (context.Cause), besides those of package worker.
var (
	// ErrSoftTimeLimit: the soft time limit has passed. A handler that returns it, or
	// any error that wraps it, fails with SoftTimeLimitExceeded.
	ErrSoftTimeLimit error = &limitError{class: "SoftTimeLimitExceeded", text: "tasks: the soft time limit has passed"}
	// ErrTimeLimit: the hard time limit has passed, and the task has failed already.
	ErrTimeLimit error = &limitError{class: "TimeLimitExceeded", text: "tasks: the time limit has passed"}
	// ErrRevoked: the task was revoked with terminate=True, and its state is REVOKED.
	ErrRevoked = errors.New("tasks: the task was revoked")
	// ErrShutdown: the worker stops without waiting for the handler any longer. A task that is
	// acknowledged late runs again, whatever the handler returns; of one that was
	// acknowledged before, the state becomes RETRY if the handler returns an error, and
	// nothing follows from it.
	ErrShutdown = errors.New("tasks: the worker is shutting down")
)

// limitError is a time limit that has passed, by the class Python knows it under.
type limitError struct{ class, text string }

func (e *limitError) Error() string                      { return e.text }
func (e *limitError) PythonType() (module, class string) { return "billiard.exceptions", e.class }

// RetryError is the outcome of a handler that wants to run again: see Retry.
type RetryError struct {
	Cause         error          // why, nil: no reason is given
	Countdown     *time.Duration // from now; nil: the task's RetryDelay, unless there is an ETA
	ETA           time.Time
	MaxRetries    *int // for this decision; nil: the task's own
	Args          []any
	Kwargs        map[string]any
	NewArgs       bool           // Args replace the task's
	NewKwargs     bool           // Kwargs replace the task's
	Queue         string         // "": where the message came from
	Priority      *int           // nil: the message's
	Expires       *time.Time     // nil: the message's
	TimeLimit     *time.Duration // nil: the message's
	SoftTimeLimit *time.Duration // nil: the message's

	// Reason is what Python's Retry says of itself: "Retry in 3s: ValueError('bad')". The worker fills it in for TaskRetry.
	Reason string
}

// Retry ends the run of a task and has it run again: the handler returns what Retry
// returns. The message is published again with the same id and one retry more, and its
// state is RETRY with the cause as result. Without options it comes back after the
// task's RetryDelay.
//
// When there have been MaxRetries retries already, the task fails with the cause, or
// with MaxRetriesExceededError if that is nil.
func Retry(cause error, opts ...RetryOption) error {
	r := &RetryError{Cause: cause}
	for _, opt := range opts {
		opt.setRetry(r)
	}
	return r
}

func (r *RetryError) Error() string {
	if r.Cause == nil {
		return "Retry"
	}
	return "Retry: " + r.Cause.Error()
}

// Unwrap returns the cause.
func (r *RetryError) Unwrap() error { return r.Cause }

// RetryCountdown is how long from now the retry waits. 0: it runs at once.
func RetryCountdown(wait time.Duration) RetryOption {
	return retryOption(func(r *RetryError) { r.Countdown = &wait })
}

// RetryETA is when the retry is due.
func RetryETA(at time.Time) RetryOption { return retryOption(func(r *RetryError) { r.ETA = at }) }

// RetryArgs replaces the positional arguments.
func RetryArgs(args ...any) RetryOption {
	return retryOption(func(r *RetryError) { r.Args, r.NewArgs = args, true })
}

// RetryKwargs replaces the keyword arguments.
func RetryKwargs(kwargs map[string]any) RetryOption {
	return retryOption(func(r *RetryError) { r.Kwargs, r.NewKwargs = kwargs, true })
}

// RetryQueue is where the retry is published.
func RetryQueue(name string) RetryOption { return retryOption(func(r *RetryError) { r.Queue = name }) }

// RetryPriority is the retry's priority, 0 (most urgent on Redis) to 9.
func RetryPriority(priority int) RetryOption {
	return retryOption(func(r *RetryError) { r.Priority = &priority })
}

// RetryExpires is when the retry is not worth running any more.
func RetryExpires(at time.Time) RetryOption {
	return retryOption(func(r *RetryError) { r.Expires = &at })
}

// RetryTimeLimit is the retry's hard time limit. 0: none.
func RetryTimeLimit(limit time.Duration) RetryOption {
	return retryOption(func(r *RetryError) { r.TimeLimit = &limit })
}

// RetrySoftTimeLimit is the retry's soft time limit. 0: none.
func RetrySoftTimeLimit(limit time.Duration) RetryOption {
	return retryOption(func(r *RetryError) { r.SoftTimeLimit = &limit })
}

// IgnoreError is the outcome of a handler that has seen to its state itself: see Ignore.
type IgnoreError struct {
	Replaced bool // another task runs in its place: see Replace
}

// Ignore ends a task without storing anything: its message is acknowledged, and its
// state stays what it is.
func Ignore() error { return IgnoreError{} }

func (e IgnoreError) Error() string {
	if e.Replaced {
		return "Ignore: replaced by another task"
	}
	return "Ignore"
}

// RejectError is the outcome of a handler that rejects its message: see Reject.
type RejectError struct {
	Reason  string
	Requeue bool
}

// Reject ends a task by rejecting its message: with requeue it goes back to the end of
// its queue, marked as redelivered, and without it is dropped and the task fails. It
// works with tasks that are acknowledged late; the message of others is gone already.
func Reject(requeue bool) error { return &RejectError{Requeue: requeue} }

// RejectWithReason is Reject with a reason, which the record of a dropped task keeps.
func RejectWithReason(reason string, requeue bool) error {
	return &RejectError{Reason: reason, Requeue: requeue}
}

func (e *RejectError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("reject requeue=%t", e.Requeue)
	}
	return fmt.Sprintf("reject requeue=%t: %s", e.Requeue, e.Reason)
}

// IsOutcome tells whether an error is no failure but something a handler asks for:
// Retry, Ignore, Replace or Reject.
func IsOutcome(err error) bool {
	var retry *RetryError
	var reject *RejectError
	return errors.As(err, &retry) || errors.As(err, &reject) || errors.As(err, new(IgnoreError))
}
