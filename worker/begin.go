package worker

import (
	"context"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// begun tells that a request begins.
func (w *Worker) begun(ctx context.Context, r *request, pid int) {
	w.started(r, pid)
	if id, ok := r.task.entry.FailedID(&r.Request); ok {
		w.errbacks.loadFailure(ctx, r, id)
	}
	w.hooks.taskPrerun(r.runContext(ctx), r)
}

// markTimeout bounds how long a task waits for the mark that it was started.
const markTimeout = time.Second

// markStarted tells the broker that a message which has cost a worker its life is about
// to be run, so that it is known for it if this one dies as well.
func (w *Worker) markStarted(ctx context.Context, r *request) {
	if w.able.Starter == nil || r.redeliveries == 0 || !r.acksLate {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	if err := w.able.Starter.Started(ctx, r.tag); err != nil {
		w.log.Warn("Cannot mark a redelivered message as started: "+err.Error(),
			logline.EventKey, "Cannot mark a redelivered message as started", "task_id", r.ID, "error", err)
	}
}

// started tells that the handler starts, and stores STARTED if that is wanted. Nothing
// waits for it.
func (w *Worker) started(r *request, pid int) {
	w.counts.start(r.Task)
	w.observers.tell(r.event(Started))
	w.log.accepted(r, pid)
	if !r.trackStarted {
		return
	}
	meta, err := pyjson.Append(nil, map[string]any{"pid": pid, "hostname": w.cfg.Hostname})
	if err != nil {
		return
	}
	if record := w.outcomes.record(r, recordOf{state: protocol.Started, result: meta}, true); record != nil {
		w.settler.settle(settlement{req: r, record: record})
	}
}
