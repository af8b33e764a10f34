package taskstest

import (
	"bytes"
	"sync"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// Outcome is what came of a task.
type Outcome struct {
	ID string // of the task

	t    T
	name string
	log  bytes.Buffer // written by a slog.Handler, which locks

	mu        sync.Mutex
	state     protocol.State
	result    []byte
	exception *protocol.Exception
	requeued  bool
	retries   []Retry
	children  []*protocol.Task
	records   []*protocol.Result
}

// Retry is a retry that a task has asked for.
type Retry struct {
	Cause error // why, as the handler said or AutoRetry met it; nil: no reason was given
	// Countdown is how long it is to wait: what was asked for, or the task's RetryDelay, or until the ETA.
	Countdown time.Duration
	Task      *protocol.Task // the message that was published
}

// State is what the task has come to: SUCCESS, FAILURE, RETRY, REVOKED, IGNORED or REJECTED.
// It is PENDING if the worker was shut down and the message is back in its queue.
func (o *Outcome) State() protocol.State {
	switch n := len(o.records); {
	case o.state != "":
		return o.state
	case n > 0 && o.records[n-1].State != protocol.Started:
		return o.records[n-1].State
	}
	return protocol.Pending
}

// Result decodes the task's result into out, a pointer; nil only looks that there is one.
// If the task has not succeeded, the test fails here.
func (o *Outcome) Result(out any) {
	o.t.Helper()
	if o.State() != protocol.Success {
		why := ""
		if o.exception != nil {
			why = ": " + o.exception.Error() + "\n" + o.exception.Traceback
		}
		o.t.Fatalf("%s ended in %s%s", o.name, o.State(), why)
		return
	}
	if out == nil {
		return
	}
	raw := o.result
	if raw == nil {
		raw = []byte("null")
	}
	if err := pyjson.Unmarshal(raw, out); err != nil {
		o.t.Fatalf("result of %s: %v", o.name, err)
	}
}

// Exception is what Python raises where it asks for the result of a task that has failed or was
// revoked, and the cause of a retry; nil if there is none.
func (o *Outcome) Exception() *protocol.Exception { return o.exception }

// Retry is what the task has asked for the last time; nil if it has not.
func (o *Outcome) Retry() *Retry {
	if len(o.retries) == 0 {
		return nil
	}
	return &o.retries[len(o.retries)-1]
}

// Retries are all retries that the task has asked for. Without FollowRetries there is one at most.
func (o *Outcome) Retries() []Retry { return o.retries }

// Requeued tells whether the message of a rejected task went back to its queue.
func (o *Outcome) Requeued() bool { return o.requeued }

// Published are the messages that were published while the task ran and when it ended, in
// order: what it sent, what it was replaced by, callbacks, the next step of its chain, errbacks.
// Retries are not among them.
func (o *Outcome) Published() []*protocol.Task { return o.children }

// States are the records that were stored for the task, in order: STARTED where that is
// tracked, what tasks.UpdateState was called with, RETRY, and the end.
func (o *Outcome) States() []*protocol.Result { return o.records }

// Log is what the worker and the handler have logged, lines of slog.TextHandler without times.
func (o *Outcome) Log() string { return o.log.String() }
