// Package sentrytasks reports to Sentry what becomes of tasks, as the Celery integration of Sentry's Python SDK does, so that a
// trace goes on from one to the other:
//
//	sentry.Init(sentry.ClientOptions{Dsn: dsn, EnableTracing: true, TracesSampleRate: 0.1})
//	sentrytasks.Connect(reg)
//
// A run of a Go handler is a transaction queue.task.celery of the task's name, which continues the trace in the message's headers;
// in it are the spans queue.process, of the handler, and queue.submit.celery with queue.publish, of what is sent. A task that fails,
// because of an error or a panic, is an event; one that is tried again, ignored or rejected is none, nor is an error that the task
// expects (tasks.Throws).
//
// In a handler, the context has a hub of the run's own (sentry.GetHubFromContext): tags and breadcrumbs are those of this run. It has
// the span, too: spans that the handler starts (sentry.StartSpan) are parts of the transaction.
//
// Clients carry on the transaction that their context has if they know the registry (client.Client.Knowing). Python tasks are left
// to Python's SDK.
package sentrytasks

import (
	"context"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// The spans' operations and origin, as in Python.
const (
	opTask    = "queue.task.celery"
	opProcess = "queue.process"
	opSubmit  = "queue.submit.celery"
	opPublish = "queue.publish"
	origin    = "auto.queue.celery"
)

// flushTime is how long the end of a worker waits for what Sentry has not got yet, as Python's SDK does.
const flushTime = 2 * time.Second

// Option changes what is reported.
type Option func(*reporter)

// WithHub says where events go; each run has a copy of it. Default: that of the context in which the worker runs, or
// sentry.CurrentHub.
func WithHub(hub *sentry.Hub) Option { return func(r *reporter) { r.hub = hub } }

// WithSystem names the broker in spans: messaging.system. Default: redis. With RabbitMQ it is amqp in Python.
func WithSystem(name string) Option { return func(r *reporter) { r.system = name } }

// WithoutPropagation leaves out of messages what would carry a trace on: propagate_traces=False in Python.
func WithoutPropagation() Option { return func(r *reporter) { r.keepsTraces = true } }

// Connect has the tasks of a registry reported, also those that are registered later. Call it before the worker starts; Sentry
// (sentry.Init) may be set up later, but before tasks run.
func Connect(reg *tasks.Registry, opts ...Option) {
	r := &reporter{reg: reg, system: "redis"}
	for _, opt := range opts {
		opt(r)
	}
	reg.Use(r.around)
	reg.Connect(tasks.Hooks{
		TaskContext: r.begin, TaskFailure: r.fail, TaskPostrun: r.end, BeforePublish: r.publish,
		WorkerShutdown: func(string) { r.base(context.Background()).Flush(flushTime) },
	})
}

type reporter struct {
	reg         *tasks.Registry
	hub         *sentry.Hub // nil: see base
	system      string
	keepsTraces bool
}

// base is the hub that a context has, or that of all.
func (p *reporter) base(ctx context.Context) *sentry.Hub {
	if hub := sentry.GetHubFromContext(ctx); hub != nil {
		return hub
	}
	if p.hub != nil {
		return p.hub
	}
	return sentry.CurrentHub()
}

// traces tells whether there are to be spans.
func traces(hub *sentry.Hub) bool {
	return hub.Client().IsEnabled() && hub.Client().Options().EnableTracing
}

// run is one of a Go handler.
type run struct {
	req         *tasks.Request
	hub         *sentry.Hub
	transaction *sentry.Span // nil: there are no spans

	returned atomic.Pointer[returned] // nil while the handler runs, which may be longer than anybody waits for it
	finished atomic.Bool              // the transaction is
}

// returned is how a handler has ended.
type returned struct {
	process *sentry.Span // nil: there are no spans
	err     error
	stack   []uintptr // of a panic
}

type runKey struct{}

// runOf finds the run that a context is part of, or nil.
func runOf(ctx context.Context) *run {
	r, _ := ctx.Value(runKey{}).(*run)
	return r
}

// begin makes the hub of a run, and starts its transaction.
func (p *reporter) begin(ctx context.Context, req *tasks.Request) context.Context {
	r := &run{req: req, hub: p.base(ctx).Clone()}
	r.hub.Scope().ClearBreadcrumbs()
	r.hub.Scope().AddEventProcessor(describing(r.hub, req))
	ctx = context.WithValue(sentry.SetHubOnContext(ctx, r.hub), runKey{}, r)
	if !r.hub.Client().IsEnabled() {
		return ctx
	}
	continued := sentry.ContinueTrace(r.hub, received(req.Task, sentry.SentryTraceHeader), receivedBaggage(req.Task))
	if !traces(r.hub) {
		return ctx
	}
	r.transaction = sentry.StartSpan(ctx, opTask, continued,
		sentry.WithTransactionName(req.Name), sentry.WithTransactionSource(sentry.SourceTask), sentry.WithSpanOrigin(origin))
	return r.transaction.Context()
}

// around has the handler run in a span of its own, and notes how it ends.
func (p *reporter) around(next tasks.Handler) tasks.Handler {
	return tasks.HandlerFunc(func(ctx context.Context, req *tasks.Request) (result any, err error) {
		r := runOf(ctx)
		if r == nil || r.req != req { // an errback that is called in the course of another run
			return next.Handle(ctx, req)
		}
		how := &returned{process: p.process(r)}
		if how.process != nil {
			ctx = how.process.Context()
		}
		whole := false
		defer func() {
			if how.err = err; !whole {
				how.stack = panicked()
			}
			r.returned.Store(how)
			if how.process == nil {
				return
			}
			if err != nil || !whole {
				how.process.Status = sentry.SpanStatusInternalError // whatever the error comes to, as in Python
			}
			how.process.Finish()
		}()
		result, err = next.Handle(ctx, req)
		whole = true
		return result, err
	})
}

// process starts the span of a handler.
func (p *reporter) process(r *run) *sentry.Span {
	if r.transaction == nil {
		return nil
	}
	span := r.transaction.StartChild(opProcess, sentry.WithDescription(r.req.Name), sentry.WithSpanOrigin(origin))
	p.message(span, r.req.Task)
	if sent, err := strconv.ParseFloat(r.req.Header(enqueuedHeader), 64); err == nil {
		span.SetData("messaging.message.receive.latency", float64(span.StartTime.UnixMicro())/1e3-sent*1e3) // in milliseconds
	}
	return span
}

// message says in a span which message it is about.
func (p *reporter) message(span *sentry.Span, task *protocol.Task) {
	span.SetData("messaging.message.id", task.ID)
	if task.Exchange == "" && task.RoutingKey != "" {
		span.SetData("messaging.destination.name", task.RoutingKey)
	}
	span.SetData("messaging.message.retry.count", task.Retries)
	span.SetData("messaging.system", p.system)
}

// panicked returns the stack of a panic that is under way, from where it began; nil if none is.
func panicked() []uintptr {
	pcs := make([]uintptr, 100)
	pcs = pcs[:runtime.Callers(1, pcs)]
	for i := len(pcs) - 1; i >= 0; i-- {
		if fn := runtime.FuncForPC(pcs[i] - 1); fn != nil && fn.Name() == "runtime.gopanic" {
			return pcs[i:]
		}
	}
	return nil
}

// end finishes the transaction of a run.
func (*reporter) end(ctx context.Context, _ *tasks.Request, state protocol.State, _ []byte) {
	r := runOf(ctx)
	if r == nil || r.transaction == nil {
		return
	}
	switch state {
	case protocol.Success:
		r.transaction.Status = sentry.SpanStatusOK
	case protocol.Failure:
		r.transaction.Status = sentry.SpanStatusInternalError
	default: // RETRY, IGNORED, REJECTED, REVOKED
		r.transaction.Status = sentry.SpanStatusAborted
	}
	r.finished.Store(true)
	r.transaction.Finish()
}
