package unique

import (
	"context"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// Hooks give up the locks of tasks that run in a worker, whoever has sent them. To be connected with its registry.
func (l *Locks) Hooks() tasks.Hooks {
	ended := func(ctx context.Context, req *tasks.Request) { l.giveUp(ctx, req, End, Start) }
	return tasks.Hooks{
		TaskPrerun:  func(ctx context.Context, req *tasks.Request) { l.giveUp(ctx, req, Start) },
		TaskSuccess: func(ctx context.Context, req *tasks.Request, _ []byte) { ended(ctx, req) },
		TaskFailure: func(ctx context.Context, req *tasks.Request, _ *protocol.Exception) { ended(ctx, req) },
		TaskRevoked: func(ctx context.Context, req *tasks.Request, _, _ bool) { ended(ctx, req) },
		TaskPostrun: func(ctx context.Context, req *tasks.Request, state protocol.State, _ []byte) {
			if state == protocol.Ignored {
				ended(ctx, req)
			}
		},
		TaskRetry: func(ctx context.Context, req *tasks.Request, _ *tasks.RetryError) { l.keep(ctx, req) },
	}
}

// giveUp gives up the lock of a task, if that is the time for it. What fails is left to the lock's time.
func (l *Locks) giveUp(ctx context.Context, req *tasks.Request, when ...Until) {
	o, locked := l.tasks[req.Name]
	if !locked {
		return
	}
	for _, until := range when {
		if o.Until != until {
			continue
		}
		if err := l.release(ctx, o.Key(req.Task), req.ID); err != nil && req.Log != nil {
			req.Log.WarnContext(ctx, "unique: a lock is left to its time", "task_name", req.Name, "task_id", req.ID, "error", err)
		}
	}
}

// keep has a task that is tried again keep its lock for the whole time.
func (l *Locks) keep(ctx context.Context, req *tasks.Request) {
	o, locked := l.tasks[req.Name]
	if !locked || o.Until != End {
		return
	}
	if _, err := l.take(ctx, o.Key(req.Task), req.ID, o.For); err != nil && req.Log != nil {
		req.Log.WarnContext(ctx, "unique: a lock is left to its time", "task_name", req.Name, "task_id", req.ID, "error", err)
	}
}

// RunOnce has tasks not run while one like it does, or, with Timeout, after it has run: a middleware for the registry of a
// worker, together with Hooks. Producers need not know of it. What it does not run is ignored, or fails: see Options.Fail.
// Where Redis cannot be asked, a task is tried again.
//
// A lock that is given up at the Start is none of its concern, nor is a task that is not locked, or a shadow.
func (l *Locks) RunOnce() tasks.Middleware {
	return func(next tasks.Handler) tasks.Handler {
		return tasks.HandlerFunc(func(ctx context.Context, req *tasks.Request) (any, error) {
			o, locked := l.tasks[req.Name]
			if !locked || o.Until == Start || tasks.Shadowed(ctx) {
				return next.Handle(ctx, req)
			}
			holder, err := l.take(ctx, o.Key(req.Task), req.ID, o.For)
			switch {
			case err != nil:
				return nil, tasks.Retry(err)
			case holder == req.ID:
				return next.Handle(ctx, req)
			case o.Fail:
				return nil, tasks.Raise("celery_singleton.exceptions.DuplicateTaskError", "Attempted to queue a duplicate of task ID "+holder)
			}
			tasks.Logger(ctx).Info("not run: another one has its lock", "holder", holder)
			return nil, tasks.Ignore()
		})
	}
}
