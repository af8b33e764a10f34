package worker

import (
	"context"
	"fmt"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// failedTask is what error callbacks are told: the task that failed, or a chord's body
// that will not run.
type failedTask struct {
	r       *request // on whose behalf
	id      string
	rootID  string
	request *tasks.Request
	exc     *protocol.Exception

	traceback string
}

// callErrbacks adds error callbacks to a flow (Backend._call_task_errbacks). Those that
// are registered here as Errback are called in this process once the failure is stored;
// all others are published with the failed task's id.
func (w *Worker) callErrbacks(f *flow, errbacks []canvas.Signature, failed failedTask) {
	var published []canvas.Signature
	for _, errback := range errbacks {
		t := w.tasks.of(errback.Task())
		if t == nil || !t.entry.Options.Errback {
			published = append(published, errback)
			continue
		}
		f.finish = append(f.finish, func(ctx context.Context, _ *settlement) { w.callErrback(ctx, t, errback, &failed) })
	}
	plan, err := canvas.Errbacks(published, failed.id, failed.rootID, w.environment(failed.r))
	after := &flow{}
	if err == nil {
		err = w.carryOut(after, plan)
	}
	if err != nil {
		w.log.Error("Cannot publish the errbacks of task "+failed.id+": "+err.Error(),
			logline.EventKey, "Cannot publish the errbacks", "task_id", failed.id, "error", err)
		return
	}
	if failed.id != failed.r.ID { // the task's own errbacks come after its record
		failed.r.adopt(plan.Children)
	}
	f.Writes = append(f.Writes, after.Writes...)
	f.then = append(f.then, after.Messages...)
	f.Size += after.Size
}

// callErrback runs an errback in this process. What goes wrong in it is logged, and
// changes nothing.
func (w *Worker) callErrback(ctx context.Context, t *taskConfig, errback canvas.Signature, failed *failedTask) {
	args := []byte(errback.Args())
	if !errback.IsImmutable() {
		args = tasks.WithFailure(pyjson.Elements(args)...)
	}
	task := &protocol.Task{
		Protocol: 2, Name: t.entry.Name, ID: protocol.NewID(), RootID: failed.rootID, ParentID: failed.id,
		Args: args, Kwargs: errback.Kwargs(),
	}
	req := &tasks.Request{
		Task: task, Queue: failed.r.Queue, Hostname: w.cfg.Hostname, Log: w.cfg.Logger,
		Failed: &tasks.Failure{Request: failed.request, Exception: failed.exc, Traceback: failed.traceback},
	}
	if _, err := callApart(ctx, t.pool.executor, t.entry, req); err != nil {
		exc := tasks.ExceptionOf(err)
		w.log.Error(fmt.Sprintf("Errback '%s' raised an exception: %s", t.entry.Name, exc.Repr()),
			logline.EventKey, "Errback raised an exception", "task_name", t.entry.Name, "exception", exc.Repr(), TracebackKey, exc.Traceback)
	}
}

// loadFailure finds out about the failed task whose id an errback got as its argument.
func (w *Worker) loadFailure(ctx context.Context, r *request, id string) {
	r.Failed = &tasks.Failure{Request: &tasks.Request{Task: &protocol.Task{ID: id}}}
	if w.stored.Loader == nil {
		return
	}
	raw, err := w.stored.Loader.Load(ctx, id)
	if err != nil {
		return
	}
	if record, err := protocol.DecodeResult(raw); err == nil {
		r.Failed.Exception, _ = protocol.DecodeException(record.Result) // nil: it has not failed
		if record.Traceback != nil {
			r.Failed.Traceback = *record.Traceback
		}
	}
}
