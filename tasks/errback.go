package tasks

import (
	"context"
	"fmt"

	"github.com/apium/apium/protocol"
)

// Failure is what an Errback task learns about the task that failed.
type Failure struct {
	Request   *Request            // of a task that failed elsewhere, only its ID is known
	Exception *protocol.Exception // nil if the record of the task cannot be read
	Traceback string
}

// Errback marks a task that is an error callback of Celery's new style, which is told the
// failed request, the exception and the traceback:
//
//	reg.Register("shop.on_error", func(ctx context.Context, failed tasks.Failure) error { … }, tasks.Errback())
//
// As a link_error it is called by the worker that ran the failed task, at once and
// without a message. Where it comes as a message, from a worker that does not know it,
// the exception is read from the failed task's record. A link_error without this option
// is published with the failed task's id as its first argument.
func Errback() Option { return taskOption(func(o *Options) { o.Errback = true }) }

// errbackHandler runs a function of Errback's form.
type errbackHandler func(ctx context.Context, failed Failure) error

func newErrbackHandler(fn any, params *string) (Handler, error) {
	f, ok := fn.(func(context.Context, Failure) error)
	switch {
	case !ok:
		return nil, fmt.Errorf("an Errback is a func(context.Context, tasks.Failure) error, not %T", fn)
	case params != nil:
		return nil, fmt.Errorf("an Errback has no Params: its argument is the Failure")
	}
	return errbackHandler(f), nil
}

func (h errbackHandler) Handle(ctx context.Context, req *Request) (any, error) {
	failed := Failure{Request: &Request{Task: &protocol.Task{}}}
	if req.Failed != nil {
		failed = *req.Failed
	}
	return nil, h(NewContext(ctx, req), failed)
}
