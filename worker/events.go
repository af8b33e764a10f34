package worker

import (
	"time"

	"github.com/apium/apium/protocol"
)

// Kind names a step in the life of a task, or something that befell the worker
// while it handled one. The steps are those of Celery's task events.
type Kind int

// The steps of a task, in the order in which they happen.
const (
	// Received: the message was decoded, its task is known and it has not expired.
	Received Kind = iota
	// Started: a slot took the task; its handler runs next.
	Started
	// Succeeded: the handler returned a result, and the result is stored.
	Succeeded
	// Failed: the task failed, was unknown or could not be bound, and that is stored.
	Failed
	// Retried: the task was published again.
	Retried
	// Rejected: the message was rejected by its handler.
	Rejected
	// Revoked: the task had expired or was revoked, and that is stored.
	Revoked
	// Refused: the message was no task this worker can run; it was logged and dropped. If it
	// tells which task it was, Failed follows.
	Refused
	// LeaseLost: the message was given to somebody else while this worker held it.
	LeaseLost
	// Ignored: the handler has seen to the task's state itself.
	Ignored
	// Forwarded: the task is not registered, or not in the worker's share, and its message was moved to another queue.
	Forwarded
	// Left: the task is not registered or not in the worker's share, or its executor has no room, and its message was given
	// back for other workers.
	Left
	// Buried: the message was put among the dead letters, after Refused if it was that.
	Buried
)

// Reasons for Refused and Buried events, from a closed set so that they can label a metric.
const (
	ReasonUndecodable  = "undecodable"  // envelope or body cannot be read
	ReasonContentType  = "content_type" // not in the accept list
	ReasonUnknown      = "unknown"      // names no task at all
	ReasonInvalid      = "invalid"      // names a task, with an eta, time limit or arguments that cannot be used
	ReasonUnregistered = "unregistered" // names a task that is not registered (Buried only)
	ReasonRedelivered  = "redelivered"  // workers died running it, again and again (Buried only)
)

// Event is one step in the life of one task.
type Event struct {
	Kind  Kind
	Queue string
	// Task is nil for a Refused message that could not be read that far.
	// Observers must not keep it.
	Task *protocol.Task
	// Registered tells whether Task.Name is a task this worker knows. Names that
	// are not come from the wire and must not become labels of a metric.
	Registered bool
	// Executor is the name of the executor that runs the task; "": it has a Go handler, or is not registered.
	Executor string
	// Shared tells that there is a share for the task (see Config.Shares).
	Shared bool
	// Silent is set for tasks that are not to send Celery's events (send_events=False).
	Silent bool
	// Runtime is how long the handler ran; 0 if it did not.
	Runtime time.Duration
	// Settle is the time from the handler's return until its result was stored
	// and acknowledged.
	Settle time.Duration
	// Result is the JSON of a Succeeded task's result.
	Result []byte
	// Repr is Python's repr of the result where that is not known as JSON.
	Repr string
	// Raised is the exception of a Failed task, and the cause of a Retried one if it has any.
	Raised    *protocol.Exception
	Traceback string
	// Exception is the class name of Raised, such as "ValueError".
	Exception string
	// Told tells that the executor of a Failed task has told all who listen where it ran.
	Told bool
	// Refused tells that a Failed task has not run: its message was refused.
	Refused bool
	// Terminated and Expired say why a task was Revoked; neither: by its id or stamps.
	Terminated, Expired bool
	// Signum is the signal an operator gave with which a task was Terminated.
	Signum int
	// Requeue tells that a Rejected message went back to its queue.
	Requeue bool
	// Reason says why a message was Refused or Buried.
	Reason string
}

// Observer is told each step of each task. Observe is called from the worker's own
// goroutines, for several tasks at a time: it must be safe for concurrent use and
// must not block.
type Observer interface {
	Observe(Event)
}

// observers are told each step of each task, one after the other.
type observers []Observer

func (all observers) tell(e Event) {
	for _, o := range all {
		o.Observe(e)
	}
}
