package worker

import (
	"context"
	"fmt"

	"github.com/apium/apium/backend"
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

// errbackCall is an error callback that is called in this process.
type errbackCall struct {
	task    *taskConfig
	errback canvas.Signature
	failed  *failedTask
}

// callErrbacks adds error callbacks to a flow (Backend._call_task_errbacks). Those that
// are registered here as Errback are called in this process once the failure is stored;
// all others are published with the failed task's id.
func (o *outcomes) callErrbacks(f *flow, errbacks []canvas.Signature, failed failedTask) (remarks []remark) {
	var published []canvas.Signature
	for _, errback := range errbacks {
		t := o.tasks.of(errback.Task())
		if t == nil || !t.entry.Options.Errback {
			published = append(published, errback)
			continue
		}
		f.calls = append(f.calls, errbackCall{t, errback, &failed})
	}
	plan, err := canvas.Errbacks(published, failed.id, failed.rootID, o.environment(failed.r))
	after := &flow{}
	if err == nil {
		err = o.carryOut(o.context(failed.r), after, plan)
	}
	if err != nil {
		return []remark{trouble("Cannot publish the errbacks", "Cannot publish the errbacks of task "+failed.id, err)}
	}
	if failed.id != failed.r.ID { // the task's own errbacks come after its record
		failed.r.adopt(plan.Children)
	}
	f.Writes = append(f.Writes, after.Writes...)
	f.then = append(f.then, after.Messages...)
	f.Size += after.Size
	return nil
}

// errbacks calls error callbacks in this process.
type errbacks struct {
	hostname string
	loader   backend.Loader // nil: results cannot be read
	log      taskLog
}

// call runs an errback in this process. What goes wrong in it is logged, and
// changes nothing.
func (e *errbacks) call(ctx context.Context, c *errbackCall) {
	t, errback, failed := c.task, c.errback, c.failed
	args := []byte(errback.Args())
	if !errback.IsImmutable() {
		args = tasks.WithFailure(pyjson.Elements(args)...)
	}
	task := &protocol.Task{
		Protocol: 2, Name: t.entry.Name, ID: protocol.NewID(), RootID: failed.rootID, ParentID: failed.id,
		Args: args, Kwargs: errback.Kwargs(),
	}
	req := &tasks.Request{
		Task: task, Queue: failed.r.Queue, Hostname: e.hostname, Log: e.log.Logger,
		Failed: &tasks.Failure{Request: failed.request, Exception: failed.exc, Traceback: failed.traceback},
	}
	if _, err := callApart(ctx, t.pool.executor, t.entry, req); err != nil {
		exc := tasks.ExceptionOf(err)
		e.log.Error(fmt.Sprintf("Errback '%s' raised an exception: %s", t.entry.Name, exc.Repr()),
			logline.EventKey, "Errback raised an exception", "task_name", t.entry.Name, "exception", exc.Repr(), TracebackKey, exc.Traceback)
	}
}

// loadFailure finds out about the failed task whose id an errback got as its argument.
func (e *errbacks) loadFailure(ctx context.Context, r *request, id string) {
	r.Failed = &tasks.Failure{Request: &tasks.Request{Task: &protocol.Task{ID: id}}}
	if e.loader == nil {
		return
	}
	raw, err := e.loader.Load(ctx, id)
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
