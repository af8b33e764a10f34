package worker

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// slot runs requests one after the other. There are Concurrency of them.
func (w *Worker) slot(index int) {
	for {
		r, ok := w.backlog.take()
		if !ok {
			return
		}
		w.execute(&w.running[index], r)
	}
}

// execute runs one request and hands its outcome to the settler.
func (w *Worker) execute(slot *runningSlot, r *request) {
	var runtime time.Duration
	defer func() { w.backlog.ran(r, runtime) }()
	if isExpired(r, time.Now()) {
		w.discard(r)
		return
	}
	ctx, cancel := context.WithCancelCause(w.taskCtx)
	defer cancel(nil)
	if !r.start(cancel) {
		return // the lease was lost while the request waited
	}
	slot.Store(r)
	defer slot.Store(nil)
	w.started(r)

	started := time.Now()
	result, err := w.cfg.Pool.Run(ctx, r.entry, &r.Request)
	runtime = time.Since(started)

	if r.acksLate && errors.Is(context.Cause(ctx), ErrShutdown) && w.aborted.Load() {
		w.unstarted.add(r) // cold shutdown: the message goes back, whatever came out
		return
	}
	if err != nil {
		w.settle(w.failure(r, r.ackAfter(), tasks.ExceptionOf(err), runtime))
		return
	}
	w.settle(w.success(r, result, runtime))
}

// started acknowledges the message unless that comes late, and stores STARTED if
// that is wanted. Nothing waits for either: as in Celery, where the main process
// acknowledges while the pool process already runs the task.
func (w *Worker) started(r *request) {
	w.observe(r.event(Started))
	s := settlement{req: r}
	if !r.acksLate {
		s.ack = early
	}
	if r.trackStarted {
		meta, err := pyjson.Append(nil, map[string]any{"pid": os.Getpid(), "hostname": w.cfg.Hostname})
		if err == nil {
			s.record = w.record(r, protocol.Started, meta, nil, true)
		}
	}
	if s.ack != none || s.record != nil {
		w.settle(s)
	}
}

func (w *Worker) success(r *request, result any, runtime time.Duration) settlement {
	encoded, err := pyjson.Append(nil, result)
	if err != nil {
		return w.failure(r, r.ackAfter(), newException("kombu.exceptions", "EncodeError", err.Error()), runtime)
	}
	return settlement{
		req: r, ack: r.ackAfter(),
		record: w.record(r, protocol.Success, encoded, nil, r.storeResult),
		end:    &outcome{kind: Succeeded, result: encoded, runtime: runtime, returned: time.Now()},
	}
}

// failure is the settlement of a task that failed, or never ran.
func (w *Worker) failure(r *request, ack ack, exc *protocol.Exception, runtime time.Duration) settlement {
	var traceback *string
	if exc.Traceback != "" {
		traceback = &exc.Traceback
	}
	return settlement{
		req: r, ack: ack,
		record: w.record(r, protocol.Failure, exc.Append(nil), traceback, r.storeErrors),
		end:    &outcome{kind: Failed, exception: exc, runtime: runtime, returned: time.Now()},
	}
}

// record encodes a task-meta document; nil when nothing is to be stored.
func (w *Worker) record(r *request, state protocol.State, result []byte, traceback *string, store bool) []byte {
	if !store || w.cfg.Store == nil || r.ID == "" { // protocol 1 allows for no id
		return nil
	}
	rec := protocol.Result{
		State: state, Result: result, Traceback: traceback,
		TaskID: r.ID, GroupID: r.GroupID, ParentID: r.ParentID,
	}
	if state.Ready() {
		rec.DateDone = time.Now().In(w.cfg.Location)
	}
	if w.cfg.ResultExtended {
		rec.Extended = w.extended(r)
	}
	return rec.Append(make([]byte, 0, len(result)+recordOverhead))
}

// extended returns what result_extended adds; nulls for a task that is not registered.
func (w *Worker) extended(r *request) *protocol.Extended {
	if r.entry == nil {
		return &protocol.Extended{}
	}
	return &protocol.Extended{
		Name: r.Name, Args: r.Args, Kwargs: r.Kwargs, Worker: w.cfg.Hostname,
		Retries: r.Retries, Queue: r.RoutingKey,
		StampedHeaders: r.StampedHeaders, Stamps: r.Stamps,
	}
}

// recordOverhead is about what a record needs besides its result.
const recordOverhead = 256

// newException builds an exception of one of Celery's own classes.
func newException(module, class, message string) *protocol.Exception {
	args, err := pyjson.Append(nil, []string{message})
	if err != nil {
		args = []byte("[]") // cannot be: a list of strings has a JSON form
	}
	return &protocol.Exception{Module: module, Type: class, Message: args}
}
