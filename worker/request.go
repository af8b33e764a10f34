package worker

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// ErrLeaseLost is the cause (context.Cause) of a handler's cancelled context when
// the broker gave the message to somebody else: this worker was out of touch for
// longer than its peers wait, and the task runs, or will run, elsewhere.
var ErrLeaseLost = errors.New("worker: the message was given to another worker")

// ErrShutdown is the cause of a handler's cancelled context when the worker stops
// without waiting for it any longer.
var ErrShutdown = errors.New("worker: shutting down")

// request is one delivery on its way through the worker.
type request struct {
	tasks.Request // what the handler sees; Task is nil if it could not be decoded

	tag   string
	raw   []byte
	seq   uint64       // order of claiming
	entry *tasks.Entry // nil: unknown task

	acksLate     bool
	storeResult  bool
	storeErrors  bool
	trackStarted bool

	lost   atomic.Bool
	cancel atomic.Pointer[context.CancelCauseFunc] // set while the handler runs
}

func (r *request) delivery() broker.Delivery {
	return broker.Delivery{Tag: r.tag, Queue: r.Queue, Raw: r.raw}
}

// start ties the handler's context to the request. It reports false when the lease
// was lost before: then nothing runs. Whichever of start and lose comes second sees
// what the first one wrote.
func (r *request) start(cancel context.CancelCauseFunc) bool {
	r.cancel.Store(&cancel)
	return !r.lost.Load()
}

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
	if cancel := r.cancel.Load(); cancel != nil {
		(*cancel)(cause)
	}
}

// event is the event of a step of this request.
func (r *request) event(kind Kind) Event {
	return Event{Kind: kind, Queue: r.Queue, Task: r.Task, Registered: r.entry != nil}
}

// apply works out the options that hold for this request: the message's header
// wins over the task's own option, and that over the worker's setting.
func (c *Config) apply(r *request) {
	opts := &r.entry.Options
	ignore := pick(c.IgnoreResult, opts.IgnoreResult, r.IgnoreResult)
	r.acksLate = pick(c.AcksLate, opts.AcksLate)
	r.storeResult = c.Store != nil && !ignore
	r.storeErrors = r.storeResult ||
		c.Store != nil && pick(c.StoreErrorsEvenIfIgnored, opts.StoreErrorsEvenIfIgnored)
	r.trackStarted = r.storeResult && pick(c.TrackStarted, opts.TrackStarted)
}

// pick returns the last of the choices that was made.
func pick(setting bool, choices ...*bool) bool {
	for _, choice := range choices {
		if choice != nil {
			setting = *choice
		}
	}
	return setting
}

// needsCanvas names what the message asks for beyond running one task and storing
// its result, in the words of its embed; "" when there is nothing.
func needsCanvas(e *protocol.Embed) string {
	switch {
	case e.Chord != nil:
		return "chord"
	case e.Chain != nil:
		return "chain"
	case e.Callbacks != nil:
		return "link"
	case e.Errbacks != nil:
		return "link_error"
	}
	return ""
}
