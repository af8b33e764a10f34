package tasks

import (
	"context"
	"log/slog"

	"github.com/apium/apium/protocol"
)

// Request is the task a handler works on, with where it came from. Handlers must
// not change it.
type Request struct {
	*protocol.Task
	Queue    string // the queue the message was taken from
	Hostname string // the worker's node name: "celery@host"

	Failed *Failure // what an Errback task is told; nil for all others

	Log       *slog.Logger // the worker's log, for Logger; nil outside of a worker
	Execution Execution    // the worker's side, for UpdateState and others; nil outside of a worker
}

type requestKey struct{}

// NewContext returns a context from which Current finds req. Entry.Call does this
// for handlers; it is of use in tests of functions that call Current.
func NewContext(ctx context.Context, req *Request) context.Context {
	return context.WithValue(ctx, requestKey{}, req)
}

// Current returns the task that runs under ctx, or nil outside of a task.
func Current(ctx context.Context) *Request {
	req, _ := ctx.Value(requestKey{}).(*Request)
	return req
}
