package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// An Executor runs the requests of tasks: in goroutines of this process, or elsewhere, such
// as in other processes. The worker decides what runs and when; an executor knows how.
// One that is a [ProcessReporter] tells of its processes, too.
//
// The worker gives every executor slots, which it adds and takes away while it runs, and a
// share of the prefetch limit of their own, so that no executor's tasks are in the way of
// another's. Its methods may be called from any goroutine.
type Executor interface {
	// Start is called before the worker claims anything. If it fails, so does Worker.Run.
	Start(ctx context.Context) error
	// NewSlot adds a slot: a place in which one request runs at a time.
	NewSlot() Slot
	// Prepare is called when a request is about to be acknowledged, or to begin. An error refuses
	// its message, which then is among the dead letters: the arguments cannot be read.
	Prepare(run *Run) error
	// Call runs a task in the midst of something else: an item of celery.map, an error
	// callback, a command of remote control. It returns when the task is done, which it asks
	// it to be when ctx is.
	Call(ctx context.Context, entry *tasks.Entry, req *tasks.Request) (any, error)
	// Restart has requests that begin from now on run in a new environment, such as
	// processes that have loaded their code anew, these modules besides. It does not wait for
	// those that run. If it fails, all stays as it was.
	Restart(ctx context.Context, modules ...string) error
	// Info is what "inspect stats" tells of the pool.
	Info() ExecutorInfo
	// Close is called when all slots are closed.
	Close(ctx context.Context) error
}

// A BodyReader is an [Executor] that can read bodies of messages which this process cannot, and is asked
// where the headers are in there (protocol 1).
type BodyReader interface {
	// ReadBody returns a body as JSON, without the arguments of its task. An error that is not that
	// of ctx refuses the message, which then is among the dead letters.
	ReadBody(ctx context.Context, message broker.Content) ([]byte, error)
}

// A Slot runs one request at a time. A goroutine of the worker's own calls Ready, Run and
// Close, one after the other.
type Slot interface {
	// Ready returns when a request that Run is given could begin at once: only then is one
	// acknowledged for this slot. It reports false when it cannot wait any longer: ctx is done.
	Ready(ctx context.Context) bool
	// Run runs a request and returns what came of it. When the request begins, it calls
	// run.Begin, exactly once; if that reports false, or if the request cannot begin after
	// all, it returns [NotBegun], and the request waits for a slot again.
	//
	// ctx is done when the request should end, with the reason as its cause; Stop says how
	// urgent that is.
	Run(ctx context.Context, run *Run) Outcome
	// Stop stops the request that Run is running, from another goroutine. patience is how long
	// to wait until Run returns: then the worker answers for the task in its place, drops
	// what Run still returns and has another slot instead of this one, which it closes when
	// Run is back. A request that has ended by itself meanwhile is none to be stopped.
	Stop(run *Run, how Stop) (patience time.Duration)
	// Trace is what the request is doing right now, for the log; "" if that is not known.
	Trace() string
	// Close gives up the slot.
	Close()
}

// Stop says how a request is stopped.
type Stop struct {
	// Strength is one of three.
	Strength Strength
	// Signal is the number that an operator gave with StopSignal.
	Signal int
}

// Strength says how hard a request is stopped.
type Strength int

const (
	// StopSoft tells the task that its soft time limit is over: SoftTimeLimitExceeded in
	// Python. It may go on.
	StopSoft Strength = iota
	// StopSignal terminates the task with a signal of an operator's choice.
	StopSignal
	// StopKill ends the task in any case: its hard time limit is over, or the worker ends.
	// The worker has answered for it already.
	StopKill
)

// Patient waits until Run returns, however long that takes.
const Patient time.Duration = -1

// Restraints are what an executor cannot do to a request that runs, such as Celery's pools of threads.
type Restraints struct {
	// NoTimeLimit and NoSoftTimeLimit say that a request may exceed such a limit.
	NoTimeLimit, NoSoftTimeLimit bool
	// NoTerminate says that a request which runs goes on, whoever wants it to be terminated.
	NoTerminate bool
}

// Outcome is what came of a request. A result or an error is worked out by the worker, as that
// of a Go handler; what is Settled is not.
type Outcome struct {
	// Result is what the handler returned: what pyjson has a JSON form for. Where the run is Settled it is wanted only if Run.Shadowed
	// is true, as a json.RawMessage; nil: there is no such form of it.
	Result any
	// Err is its error; a *LostError if the process has died that ran it.
	Err error
	// Settled is not nil if whoever ran the task has seen to its callbacks, the next step of
	// its chain, its chord, its errbacks, its retry and its log lines.
	Settled *Settled
}

// NotBegun is the outcome of a request that has not begun.
var NotBegun = Outcome{}

// Settled is an outcome of which the worker has to do no more than to store the record, if
// there is one, to acknowledge the message and to tell observers.
type Settled struct {
	// State is SUCCESS, FAILURE, RETRY, IGNORED or REJECTED. A FAILURE with Rejects is one of a
	// task that has rejected its message, which must not come back (since Celery 5.7).
	State   protocol.State
	Rejects bool
	// Record is the finished record, for the worker to store; nil: it is stored, or nobody
	// wants it.
	Record []byte
	// Repr is Python's repr of the result.
	Repr string
	// Exception is that of a failure, and the cause of a retry.
	Exception *protocol.Exception
	// Requeue gives a REJECTED message back to its queue.
	Requeue bool
	// Part is the result in JSON, or the exception, if the worker is to count the task as a part of its chord: whoever ran it has
	// left that to it, or has ended and may not have got so far. If it is counted already, that changes nothing, but the body may
	// still have to be published. Nil: there is nothing to count.
	Part []byte
	// Runtime is how long the task ran; 0: as long as Run took.
	Runtime time.Duration
}

// LostError says that the process which ran a task has died: Celery's WorkerLostError.
type LostError struct {
	// Status is "signal 9 (SIGKILL)", or "exitcode 1".
	Status string
	// Job is the number that the task had there; 0: the process has said itself that it ends.
	Job uint64
	// Claimed is how long a chord may still be claimed which the process was about to publish the body of; 0: there is none. Who gets the
	// message earlier takes the body for published.
	Claimed time.Duration
}

func (e *LostError) Error() string {
	if e.Job == 0 {
		return "Worker exited prematurely: " + e.Status + "."
	}
	return fmt.Sprintf("Worker exited prematurely: %s Job: %d.", e.Status, e.Job)
}

// PythonType implements tasks.PythonError.
func (*LostError) PythonType() (module, class string) {
	return "billiard.exceptions", "WorkerLostError"
}

// ExecutorInfo is what is told of an executor.
type ExecutorInfo struct {
	// Implementation is its name. One of Celery's, "celery.concurrency.prefork:TaskPool", also
	// says what else "inspect stats" tells of it, and whether its size can be changed.
	Implementation string
	// PIDs are the processes of its slots, which may be fewer than these: some have none yet, or
	// all share one.
	PIDs []int
	// MaxTasksPerChild is after how many tasks a process is replaced; 0: never.
	MaxTasksPerChild int
}

// Run is a request that an executor has been given to run.
type Run request

// Entry is the task's registration.
func (run *Run) Entry() *tasks.Entry { return run.task.entry }

// Message is the message as it came.
func (run *Run) Message() broker.Content { return run.content }

// StillWanted tells, of a request that has waited in its slot, whether it is to begin: it may have expired, been revoked or
// been given to another worker meanwhile. If not, the worker sees to it, and Run returns [NotBegun].
func (run *Run) StillWanted() bool { return run.task.pool.stillWanted((*request)(run)) }

// Shadowed tells whether the worker wants to know a result that is Settled (see Outcome), as its Go handler shall run as a shadow: see Config.Shadows.
func (run *Run) Shadowed() bool { return (*request)(run).castsShadow() }

// Call calls the task's Go handler, here and now, after Begin. ctx is what Begin was given.
func (run *Run) Call(ctx context.Context) (o Outcome) {
	o.Result, o.Err = run.task.entry.Call((*request)(run).runContext(ctx), &run.Request)
	return o
}

// Begin says that the request begins now, in a process: time limits count from now on,
// task-started is announced, STARTED is stored. It reports false when the request must not
// begin any more, for example because its message was given to another worker.
func (run *Run) Begin(ctx context.Context, pid int) bool {
	r := (*request)(run)
	return r.task.pool.begin(ctx, r, pid)
}
