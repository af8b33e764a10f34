package worker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// ErrLeaseLost is the cause (context.Cause) of a handler's cancelled context when
// the broker gave the message to somebody else: this worker was out of touch for
// longer than its peers wait, and the task runs, or will run, elsewhere.
var ErrLeaseLost = errors.New("worker: the message was given to another worker")

// request is one delivery on its way through the worker.
//
// There is one for each message that is held, and one is made for each task: its size counts, which is why what is small is together.
type request struct {
	tasks.Request // what the handler sees; Task is nil if it could not be decoded

	execution    *execution
	tag          string
	content      broker.Content // the message, as its transport has it
	seq          uint64         // order of claiming
	redeliveries int            // how often it came back because a worker died
	read         protocol.Task  // what Task points to when the message's headers were read
	success      outcome        // what has come of it, if it has succeeded
	task         *taskConfig    // nil: unknown task, or left

	unparked     bool // it comes from the broker's keeping
	announced    bool // monitors were told that it was received
	left         bool // other workers are to run it: it is not in the share of its task
	acksLate     bool
	storeResult  bool
	storeErrors  bool
	trackStarted bool
	shadowed     bool // its result is wanted, to be compared with that of a shadow
	accepted     bool // it is acknowledged early, and that is confirmed
	limited      bool // it has its rate limit's token

	term   atomic.Uint64 // of the lease that is known good; see leases
	leased atomic.Int64  // when that began, Unix nanoseconds; 0: not known

	due     time.Time // when it waits: until when
	follows time.Time // of a retry: since when it could go on

	slot                 *slot // that runs it
	pid                  int   // of the process that runs it
	softLimit, hardLimit *time.Timer

	signalled  atomic.Bool  // its executor was told that it is terminated
	stuck      atomic.Int32 // above 0: its handler waits for broker or backend
	lost       atomic.Bool
	phase      atomic.Int32               // see the phases below
	terminated atomic.Pointer[int]        // nil, or the signal with which an operator has stopped it
	run        atomic.Pointer[runContext] // set while the handler runs
	started    time.Time                  // set before the phase is running
	ctx        context.Context            //nolint:containedctx // of the run, set like started; nil: hooks have made none

	mu       sync.Mutex
	bodyRead bool // of Task
	bodyErr  error
	children [][]byte // what the task has published, as a record's children tell it

	replacement *flow // is to run in the task's place, or follow it, once its handler has returned
}

// Phases of a request's handler. Whoever moves it on from running settles the task:
// its slot when it has returned, or the time limit, or an operator.
const (
	waiting int32 = iota
	running
	returned
	abandoned // the handler may still run, but nobody waits for it
	discarded // it will not run: it expired or was revoked while it waited in its slot
	unread    // it is held, and its headers are being read: who does that alone looks at it
)

// runContext is the context of the run that was given ctx: the one that hooks have made for it, if they have.
func (r *request) runContext(ctx context.Context) context.Context {
	if r.ctx != nil {
		return r.ctx
	}
	return ctx
}

func (r *request) delivery() broker.Delivery {
	return broker.Delivery{Tag: r.tag, Queue: r.Queue, Content: r.content, Redeliveries: r.redeliveries}
}

// readBody reads the arguments and what runs after the task, if that was not done before. Who
// only wants to know what the end of a task means for others, may do without the error: of
// what cannot be read nothing is known.
func (r *request) readBody(d *protocol.Decoder) error {
	if r.Task == nil {
		return nil
	}
	r.mu.Lock() // others may look at the task: see TaskInfo
	defer r.mu.Unlock()
	if !r.bodyRead {
		r.bodyRead, r.bodyErr = true, d.DecodeBody(r.Task)
	}
	return r.bodyErr
}

// withBody returns the task as it is, or as it will be when its body is read; without the
// arguments if they cannot be.
func (r *request) withBody(d *protocol.Decoder) *protocol.Task {
	r.mu.Lock()
	task := *r.Task
	r.mu.Unlock()
	_ = d.DecodeBody(&task) // without the arguments, then
	return &task
}

// finish notes that the handler has returned, or is not waited for any more. It
// reports whether the caller is to settle the task.
func (r *request) finish(phase int32) bool { return r.phase.CompareAndSwap(running, phase) }

// lose notes that the message is somebody else's and stops the handler. It reports
// whether that is news.
func (r *request) lose() bool {
	if r.lost.Swap(true) {
		return false
	}
	r.stop(ErrLeaseLost)
	return true
}

func (r *request) stop(cause error) {
	if run := r.run.Load(); run != nil {
		run.stop(cause)
	}
}

// publishedChild notes a task or group that was published while this one ran.
func (r *request) publishedChild(tuple []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.children = append(r.children, tuple)
}

// childCount is how many have been noted.
func (r *request) childCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.children)
}

// dropChildren forgets those noted after the first n.
func (r *request) dropChildren(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.children = r.children[:n]
}

// childrenJSON returns what the record says about children; nil: there are none.
func (r *request) childrenJSON() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.children) == 0 {
		return nil
	}
	return pyjson.AppendArray(nil, r.children)
}

// event is the event of a step of this request.
func (r *request) event(kind Kind) Event {
	e := Event{Kind: kind, Queue: r.Queue, Task: r.Task, Registered: r.task != nil}
	if t := r.task; t != nil {
		e.Shared, e.Silent = t.share.Load() != nil, !t.sendEvents
		if !t.entry.InGo() {
			e.Executor = t.entry.Executor
		}
	}
	return e
}

// apply works out what holds for this request: the message's header wins over the
// task's own option, and that over the worker's setting. stores tells that there is a result backend.
func (r *request) apply(stores bool) {
	t := r.task
	ignore := value(r.IgnoreResult, t.ignoreResult)
	r.acksLate = t.acksLate
	r.storeResult = stores && !ignore
	r.storeErrors = r.storeResult || stores && t.storeErrors
	r.trackStarted = r.storeResult && t.trackStarted
}

// inChord tells that the task is a member of a chord's header.
func (r *request) inChord() bool { return isChordMember(r.Task) }

func isChordMember(t *protocol.Task) bool { return t.Embed.Chord != nil && t.GroupID != "" }
