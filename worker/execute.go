package worker

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// execute runs one request and hands its outcome to the settler. It reports false when
// the slot was abandoned meanwhile. It does not return when the handler ends its
// goroutine: then slots.died answers for it.
func (w *Worker) execute(s *slot, r *request) (stay bool) {
	if !r.accepted && (w.discarded(r) || w.deduplicated(r)) {
		w.backlog.ran(r, 0)
		return true
	}
	if !r.accepted && !w.leases.await(r, w.noStart) {
		if !r.lost.Load() {
			w.unstarted.add(r)
		}
		w.backlog.ran(r, 0)
		return true
	}
	ctx, cancel := context.WithCancelCause(w.taskCtx)
	defer cancel(nil)
	s.current.Store(r)
	if !r.start(cancel) { // the lease was lost while the request waited
		s.current.Store(nil)
		w.backlog.ran(r, 0)
		return true
	}
	result, err := w.call(ctx, s, r)
	runtime := time.Since(r.started)
	if !r.finish(returned) {
		s.current.Store(nil)
		w.slots.abandoned.Add(-1)
		return false
	}
	switch stopped := w.aborted.Load() && errors.Is(context.Cause(ctx), tasks.ErrShutdown); {
	case stopped && r.acksLate:
		w.unstarted.add(r) // cold shutdown: the message goes back, whatever came out
	case stopped && err != nil && !tasks.IsOutcome(err):
		w.settle(w.cutOff(r)) // it has given up
		w.hooks.taskPostrun(ctx, r, protocol.Retry, nil)
	default:
		w.settle(w.outcomeOf(ctx, r, result, err, runtime))
	}
	s.current.Store(nil)
	w.backlog.ran(r, runtime)
	return true
}

// call runs the handler, within its time limits.
func (w *Worker) call(ctx context.Context, s *slot, r *request) (any, error) {
	w.markStarted(ctx, r)
	w.started(r)
	defer w.limitTime(s, r)()
	if r.task.entry.Options.Errback {
		w.loadFailure(ctx, r)
	}
	w.hooks.taskPrerun(ctx, r)
	return w.cfg.Pool.Run(ctx, r.task.entry, &r.Request)
}

// discarded settles a request that has expired or was revoked while it waited.
func (w *Worker) discarded(r *request) bool {
	now := time.Now()
	switch isExpired := isExpired(r, now); {
	case isExpired || w.revocations.has(r.ID, now):
		w.discard(r, isExpired)
	default:
		header, value, found := w.revocations.byStamp(r.Task)
		if !found {
			return false
		}
		w.log.discardedByStamp(r, header, value)
		w.settle(w.revocation(r, "revoked", false))
		w.hooks.taskRevoked(r, false, false)
	}
	return true
}

// markTimeout bounds how long a task waits for the mark that it was started.
const markTimeout = time.Second

// markStarted tells the broker that a message which has cost a worker its life is about
// to be run, so that it is known for it if this one dies as well.
func (w *Worker) markStarted(ctx context.Context, r *request) {
	starter, ok := w.cfg.Consumer.(broker.Starter)
	if !ok || r.redeliveries == 0 || !r.acksLate {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	if err := starter.Started(ctx, r.tag); err != nil {
		w.log.Warn("Cannot mark a redelivered message as started: "+err.Error(),
			logline.EventKey, "Cannot mark a redelivered message as started", "task_id", r.ID, "error", err)
	}
}

// started tells that the handler starts, and stores STARTED if that is wanted. Nothing
// waits for it.
func (w *Worker) started(r *request) {
	w.counts.start(r.Task)
	w.observers.tell(r.event(Started))
	w.log.accepted(r)
	if !r.trackStarted {
		return
	}
	meta, err := pyjson.Append(nil, map[string]any{"pid": os.Getpid(), "hostname": w.cfg.Hostname})
	if err != nil {
		return
	}
	if record := w.record(r, recordOf{state: protocol.Started, result: meta}, true); record != nil {
		w.settle(settlement{req: r, record: record})
	}
}

// recordOf is what a record says besides whose it is.
type recordOf struct {
	state     protocol.State
	result    []byte // JSON; nil: null
	traceback string // "": null
}

func failureRecord(exc *protocol.Exception) recordOf {
	return recordOf{protocol.Failure, exc.Append(nil), exc.Traceback}
}

func revokedRecord(exc *protocol.Exception) recordOf {
	return recordOf{state: protocol.Revoked, result: exc.Append(nil)}
}

// record encodes a task-meta document; nil when nothing is to be stored.
func (w *Worker) record(r *request, what recordOf, store bool) []byte {
	if !store || w.cfg.Store == nil || r.ID == "" { // protocol 1 allows for no id
		return nil
	}
	rec := protocol.Result{
		State: what.state, Result: what.result, Children: r.childrenJSON(),
		TaskID: r.ID, GroupID: r.GroupID, ParentID: r.ParentID,
	}
	if traceback := what.traceback; traceback != "" {
		rec.Traceback = &traceback
	}
	if what.state.Ready() {
		rec.DateDone = time.Now().In(w.cfg.Location)
	}
	if w.cfg.ResultExtended {
		rec.Extended = w.extended(r)
	}
	return rec.Append(make([]byte, 0, len(what.result)+recordOverhead))
}

// extended returns what result_extended adds; nulls for a task that is not registered.
func (w *Worker) extended(r *request) *protocol.Extended {
	if r.task == nil {
		return &protocol.Extended{}
	}
	return &protocol.Extended{
		Name: r.Name, Args: reencoded(r.Args), Kwargs: reencoded(r.Kwargs), Worker: w.cfg.Hostname,
		Retries: r.Retries, Queue: r.RoutingKey,
		StampedHeaders: r.StampedHeaders, Stamps: r.Stamps,
	}
}

// reencoded returns JSON as Python writes it, whoever the producer was: Celery stores arguments
// as it has read them. What cannot be read again stays as it came.
func reencoded(raw []byte) []byte {
	again, err := pyjson.Reencode(make([]byte, 0, len(raw)), raw)
	if err != nil {
		return raw
	}
	return again
}

// recordOverhead is about what a record needs besides its result.
const recordOverhead = 256

// newException builds an exception of one of Celery's own classes.
func newException(module, class string, arguments ...any) *protocol.Exception {
	args, err := pyjson.Append(nil, append([]any{}, arguments...))
	if err != nil {
		args = []byte("[]") // cannot be: strings and numbers have a JSON form
	}
	return &protocol.Exception{Module: module, Type: class, Message: args}
}
