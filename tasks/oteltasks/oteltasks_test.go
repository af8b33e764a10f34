package oteltasks_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/oteltasks"
	"github.com/apium/apium/tasks/taskstest"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID      = "00f067aa0ba902b7"
	traceparent = "00-" + traceID + "-" + spanID + "-01"
)

// traced runs a task of a registry, sent by somebody with a trace, and returns the spans by their names.
func traced(t *testing.T, register func(reg *tasks.Registry), opts ...oteltasks.Option) map[string]sdktrace.ReadOnlySpan {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	reg := tasks.NewRegistry()
	register(reg)
	reg.Connect(oteltasks.Hooks(append(opts, oteltasks.WithTracerProvider(provider))...))
	synctest.Test(t, func(t *testing.T) {
		taskstest.Apply(t, reg, canvas.Sig("shop.do").Set(canvas.Headers(map[string]any{"traceparent": traceparent})), taskstest.FollowRetries())
		time.Sleep(time.Hour) // until handlers return for whom nobody waits
	})
	spans := map[string]sdktrace.ReadOnlySpan{}
	for _, span := range recorder.Ended() {
		spans[span.Name()] = span
	}
	return spans
}

// Runs are counted in Python's histogram, however they end.
func TestRuntimeOfRuns(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	traced(t, func(reg *tasks.Registry) {
		reg.Register("shop.do", func(ctx context.Context) error {
			time.Sleep(3 * time.Second)
			if tasks.Current(ctx).Retries == 0 {
				return tasks.Retry(errors.New("not yet"))
			}
			return errors.New("no")
		})
	}, oteltasks.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))))
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil || len(all.ScopeMetrics) != 1 || len(all.ScopeMetrics[0].Metrics) != 1 {
		t.Fatalf("%v: %v", err, all)
	}
	m := all.ScopeMetrics[0].Metrics[0]
	points, _ := m.Data.(metricdata.Histogram[float64])
	if m.Name != "flower.task.runtime.seconds" || m.Unit != "seconds" || m.Description != "The time it took to run the task." || len(points.DataPoints) != 1 {
		t.Fatalf("%v", m)
	}
	p := points.DataPoints[0]
	task, _ := p.Attributes.Value("task")
	worker, _ := p.Attributes.Value("worker")
	if p.Count != 2 || p.Sum != 6 || p.Attributes.Len() != 2 || task.AsString() != "shop.do" || !strings.Contains(worker.AsString(), "@") {
		t.Errorf("%v", p)
	}
}

func TestRunContinuesTheTrace(t *testing.T) {
	var inside trace.SpanContext
	spans := traced(t, func(reg *tasks.Registry) {
		reg.Register("shop.do", func(ctx context.Context) error {
			inside = trace.SpanContextFromContext(ctx)
			_, err := tasks.Send(ctx, canvas.Sig("shop.next"))
			return err
		})
	})
	run, sent := spans["run/shop.do"], spans["apply_async/shop.next"]
	if run == nil || sent == nil {
		t.Fatalf("got %v", spans)
	}
	if run.SpanKind() != trace.SpanKindConsumer || run.Parent().SpanID().String() != spanID || run.SpanContext().TraceID().String() != traceID {
		t.Errorf("the run is %v of %v", run.SpanKind(), run.Parent())
	}
	if inside.SpanID() != run.SpanContext().SpanID() {
		t.Errorf("the handler is in %v, not in %v", inside, run.SpanContext())
	}
	if sent.SpanKind() != trace.SpanKindProducer || sent.Parent().SpanID() != run.SpanContext().SpanID() {
		t.Errorf("what it sent is %v of %v", sent.SpanKind(), sent.Parent())
	}
}

func TestLinks(t *testing.T) {
	spans := traced(t, func(reg *tasks.Registry) { reg.Register("shop.do", func() {}) }, oteltasks.WithLinks())
	run := spans["run/shop.do"]
	if run.Parent().IsValid() || len(run.Links()) != 1 || run.Links()[0].SpanContext.SpanID().String() != spanID {
		t.Errorf("parent %v, links %v", run.Parent(), run.Links())
	}
}

// However a run ends, its span does.
func TestHowRunsEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		handler any
		opts    []tasks.Option
		state   string
		status  codes.Code
		why     string
	}{
		"well":         {func() {}, nil, "SUCCESS", codes.Unset, ""},
		"badly":        {func() error { return tasks.Raise("ValueError", "bad") }, nil, "FAILURE", codes.Error, "bad"},
		"in a panic":   {func() { panic("oh") }, nil, "FAILURE", codes.Error, "oh"},
		"without word": {tasks.Ignore, nil, "IGNORED", codes.Unset, ""},
		"retried in vain": {
			func() error { return tasks.Retry(errors.New("busy")) },
			[]tasks.Option{tasks.MaxRetries(1), tasks.RetryDelay(time.Second)},
			"FAILURE", codes.Error, "busy",
		},
		"too late": {
			func() { time.Sleep(2 * time.Minute) }, []tasks.Option{tasks.TimeLimit(time.Minute)}, "FAILURE", codes.Error, "60",
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := traced(t, func(reg *tasks.Registry) { reg.Register("shop.do", tt.handler, tt.opts...) })["run/shop.do"]
			if run == nil {
				t.Fatal("no span has ended")
			}
			var state string
			for _, kv := range run.Attributes() {
				if kv.Key == "celery.state" {
					state = kv.Value.AsString()
				}
			}
			if got := run.Status(); state != tt.state || got.Code != tt.status || got.Description != tt.why {
				t.Errorf("got %s, %v %q; want %s, %v %q", state, got.Code, got.Description, tt.state, tt.status, tt.why)
			}
			if failed := tt.status == codes.Error; failed != (len(run.Events()) == 1) {
				t.Errorf("events %v", run.Events())
			}
		})
	}
}
