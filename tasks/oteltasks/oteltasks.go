// Package oteltasks traces tasks with OpenTelemetry, as the instrumentation of Celery in Python
// (opentelemetry-instrumentation-celery) does, so that a trace goes on from one to the other:
//
//	reg.Connect(oteltasks.Hooks())
//
// A run of a Go handler is a span run/<task> of kind CONSUMER, which continues the trace in the message's headers;
// what is published is a span apply_async/<task> of kind PRODUCER, which the message carries on. Both have the
// attributes that they have in Python. In a handler, the context has the run's span: spans that it starts, and what
// it sends with package tasks, are its children.
//
// How long runs take is the histogram flower.task.runtime.seconds, by task and worker, as in Python.
//
// Clients trace what they send if they know the registry (client.Client.Knowing), and so does a beat.
package oteltasks

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// scope names what makes the spans.
const scope = "github.com/apium/apium/tasks/oteltasks"

// Option changes how tasks are traced.
type Option func(*tracing)

// WithTracerProvider says where spans go. Default: OpenTelemetry's global provider.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(t *tracing) { t.tracer = provider.Tracer(scope) }
}

// WithMeterProvider says where the histogram goes. Default: OpenTelemetry's global provider.
func WithMeterProvider(provider metric.MeterProvider) Option {
	return func(t *tracing) { t.meter = provider.Meter(scope) }
}

// WithPropagator says which headers carry a trace. Default: traceparent, tracestate and baggage, as in Python.
func WithPropagator(propagator propagation.TextMapPropagator) Option {
	return func(t *tracing) { t.propagator = propagator }
}

// WithLinks has a run begin a trace of its own, which is linked to that of the message: use_span_links in Python.
func WithLinks() Option {
	return func(t *tracing) { t.links = true }
}

// Hooks returns the hooks that trace, to be connected with a registry before the worker starts.
func Hooks(opts ...Option) tasks.Hooks {
	t := &tracing{propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})}
	for _, opt := range opts {
		opt(t)
	}
	if t.tracer == nil {
		t.tracer = otel.Tracer(scope)
	}
	if t.meter == nil {
		t.meter = otel.Meter(scope)
	}
	var err error
	if t.runtime, err = t.meter.Float64Histogram("flower.task.runtime.seconds", // Flower's, in the words of the instrumentation
		metric.WithUnit("seconds"), metric.WithDescription("The time it took to run the task.")); err != nil {
		otel.Handle(err) // as OpenTelemetry's own parts do; what was returned does nothing
	}
	return tasks.Hooks{TaskContext: t.begin, TaskFailure: t.fail, TaskRetry: t.retry, TaskPostrun: t.end, BeforePublish: t.publish}
}

type tracing struct {
	tracer     trace.Tracer
	meter      metric.Meter
	runtime    metric.Float64Histogram
	propagator propagation.TextMapPropagator
	links      bool
}

// startedKey is for the time at which a run began.
type startedKey struct{}

// begin starts the span of a run.
func (t *tracing) begin(ctx context.Context, req *tasks.Request) context.Context {
	sent := t.propagator.Extract(ctx, headers{req.Task})
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
	if t.links {
		if from := trace.SpanContextFromContext(sent); from.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: from}))
		}
	} else {
		ctx = sent
	}
	ctx, _ = t.tracer.Start(ctx, "run/"+req.Name, opts...)
	return context.WithValue(ctx, startedKey{}, time.Now())
}

// fail notes what a task has failed with.
func (t *tracing) fail(ctx context.Context, _ *tasks.Request, exc *protocol.Exception) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	class := exc.Type
	if exc.Module != "" && exc.Module != "builtins" {
		class = exc.Module + "." + class
	}
	span.AddEvent("exception", trace.WithAttributes(
		attribute.String("exception.type", class),
		attribute.String("exception.message", exc.Text()),
		attribute.String("exception.stacktrace", exc.Traceback),
		attribute.String("exception.escaped", "False"),
	))
	span.SetStatus(codes.Error, exc.Text())
}

func (t *tracing) retry(ctx context.Context, _ *tasks.Request, reason *tasks.RetryError) {
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("celery.retry.reason", reason.Reason))
}

func (t *tracing) end(ctx context.Context, req *tasks.Request, state protocol.State, _ []byte) {
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() {
		span.SetAttributes(append(ofRun(req.Task),
			attribute.String("celery.action", "run"), attribute.String("celery.task_name", req.Name), attribute.String("celery.state", string(state)))...)
	}
	span.End()
	if started, ok := ctx.Value(startedKey{}).(time.Time); ok {
		t.runtime.Record(ctx, time.Since(started).Seconds(),
			metric.WithAttributes(attribute.String("task", req.Name), attribute.String("worker", req.Hostname)))
	}
}

// publish makes the span of what is about to be published, which ends at once: messages are published many at a time.
func (t *tracing) publish(ctx context.Context, task *protocol.Task) {
	ctx, span := t.tracer.Start(ctx, "apply_async/"+task.Name, trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("celery.action", "apply_async"), attribute.String("celery.task_name", task.Name),
			attribute.String("messaging.message.id", task.ID), attribute.String("messaging.destination", task.RoutingKey))
		if task.Exchange == "" {
			span.SetAttributes(attribute.String("messaging.destination_kind", "queue"))
		} else {
			span.SetAttributes(attribute.String("celery.exchange", task.Exchange))
		}
	}
	t.propagator.Inject(ctx, headers{task})
}

// headers are those of a message, for OpenTelemetry to read and write.
type headers struct{ *protocol.Task }

// Get implements propagation.TextMapCarrier.
func (h headers) Get(key string) string { return h.Header(key) }

// Set implements propagation.TextMapCarrier.
func (h headers) Set(key, value string) { h.SetHeader(key, value) }

// Keys implements propagation.TextMapCarrier.
func (h headers) Keys() (keys []string) {
	for key := range h.CustomHeaders() {
		keys = append(keys, key)
	}
	return keys
}
