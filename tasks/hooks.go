package tasks

import (
	"context"

	"github.com/apium/apium/protocol"
)

// Middleware wraps the handlers of all tasks, to log, trace or recover.
type Middleware func(next Handler) Handler

// Hooks are functions that are told what happens, by the names of Celery's signals.
// Nil ones are left out. They are called one after the other, in the order in which
// they were connected, from the goroutine in which it happens: a slow hook slows the
// task. A panic in a hook is logged, and changes nothing.
type Hooks struct {
	WorkerInit         func(hostname string)      // before the worker claims anything
	WorkerProcessInit  func(hostname string)      // after WorkerInit, once: all handlers share the process
	WorkerReady        func(hostname string)      // it claims now
	WorkerShuttingDown func(hostname, how string) // how: "Warm" or "Cold"
	WorkerShutdown     func(hostname string)      // everything has stopped; in the place of worker_process_shutdown, too
	TaskReceived       func(req *Request)         // known, not expired, not revoked; its arguments are not read yet
	// TaskContext makes the context of a run, out of ctx, before TaskPrerun: that of the handler and of every hook that
	// is told of the run, or of what is published in the course of it. Only for Go handlers.
	TaskContext func(ctx context.Context, req *Request) context.Context
	TaskPrerun  func(ctx context.Context, req *Request) // just before the handler
	// TaskPostrun comes after the handler, whatever came out: result is JSON and nil
	// unless state is SUCCESS. Where nobody waited for the handler any longer, because of a time limit or because its task was
	// terminated, it comes long after TaskFailure or TaskRevoked.
	TaskPostrun func(ctx context.Context, req *Request, state protocol.State, result []byte)

	TaskSuccess func(ctx context.Context, req *Request, result []byte)
	TaskFailure func(ctx context.Context, req *Request, exc *protocol.Exception)
	TaskRetry   func(ctx context.Context, req *Request, reason *RetryError)
	TaskRevoked func(ctx context.Context, req *Request, terminated, expired bool)

	TaskRejected func(message []byte, err error)       // a message that cannot be read
	TaskUnknown  func(message []byte, name, id string) // a task that is not registered

	// BeforePublish may change the task that is about to be published, its headers for
	// example; exchange and routing key are settled already.
	BeforePublish func(ctx context.Context, task *protocol.Task)
	AfterPublish  func(ctx context.Context, task *protocol.Task)
}

// Connect adds hooks. Call it before the worker starts.
func (r *Registry) Connect(hooks Hooks) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hooks = append(r.hooks, hooks)
}

// Hooks returns what was connected.
func (r *Registry) Hooks() []Hooks {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.hooks
}

// Use wraps the handlers of all tasks, those that are registered later too. The first
// middleware is the outermost. Call it before the worker starts.
func (r *Registry) Use(middleware ...Middleware) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.middleware = append(r.middleware, middleware...)
	for name, entry := range r.entries {
		wrapped := *entry
		wrapped.wrap(r.middleware)
		r.entries[name] = &wrapped
	}
}

// wrap sets what Call calls.
func (e *Entry) wrap(middleware []Middleware) {
	e.chain = e.Handler
	for i := len(middleware) - 1; i >= 0; i-- {
		e.chain = middleware[i](e.chain)
	}
}
