// Command traced serves the Go twins of testdata/app/traced.py. It is a program of its own, so that the worker of the other
// tests is what a user's is without OpenTelemetry.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/apium/apium/cli"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/oteltasks"
)

func main() {
	url := os.Getenv("JOURNAL")
	journal := &redis.Pool{MaxIdle: 2, Dial: func() (redis.Conn, error) { return redis.DialURL(url) }}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter{journal}))
	reg := tasks.NewRegistry()
	register(reg, provider, sdkmetric.NewMeterProvider(sdkmetric.WithReader(
		sdkmetric.NewPeriodicReader(runtimes{journal: journal}, sdkmetric.WithInterval(200*time.Millisecond)))))
	cli.Main(reg)
}

func register(reg *tasks.Registry, provider *sdktrace.TracerProvider, meters *sdkmetric.MeterProvider) {
	inner := provider.Tracer("shop")
	reg.Connect(oteltasks.Hooks(oteltasks.WithTracerProvider(provider), oteltasks.WithMeterProvider(meters)))
	reg.Register("traced.add", func(ctx context.Context, x, y int) int {
		_, span := inner.Start(ctx, "inner")
		defer span.End()
		return x + y
	}, tasks.Params("x, y"))
	reg.Register("traced.fails", func([]any) error { return tasks.Raise("ValueError", "bad", 1) }, tasks.Params("*args"))
	reg.Register("traced.throws", func() error { return tasks.Raise("KeyError", "k") }, tasks.Params(""))
	reg.Register("traced.again", func(ctx context.Context) (int, error) {
		if n := tasks.Current(ctx).Retries; n > 0 {
			return n, nil
		}
		return 0, tasks.Retry(tasks.Raise("shoperrors.OutOfStock", "pen", 3), tasks.RetryCountdown(500*time.Millisecond))
	}, tasks.Params(""))
	reg.Register("traced.sends", func(ctx context.Context) error {
		ctx, span := inner.Start(ctx, "inner")
		defer span.End()
		_, err := tasks.Send(ctx, canvas.Sig("traced.add", 1, 2))
		return err
	}, tasks.Params(""))
	reg.Register("traced.ignores", func() error { return tasks.Ignore() }, tasks.Params(""))
	reg.Register("traced.rejects", func() error { return tasks.RejectWithReason("why", false) }, tasks.Params(""))
	reg.Register("traced.replaced", func(ctx context.Context) error {
		return tasks.Replace(ctx, canvas.Sig("traced.add", 3, 4))
	}, tasks.Params(""))
	reg.Register("traced.total", func(numbers []int) (sum int) {
		for _, n := range numbers {
			sum += n
		}
		return sum
	}, tasks.Params("numbers"))
}

// exporter writes spans into the journal as traced.py does.
type exporter struct{ journal *redis.Pool }

func (exporter) Shutdown(context.Context) error { return nil }

func (e exporter) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, span := range spans {
		line := map[string]any{
			"name": span.Name(), "kind": strings.ToUpper(span.SpanKind().String()),
			"trace": span.SpanContext().TraceID().String(), "id": span.SpanContext().SpanID().String(), "parent": nil,
			"status": strings.ToUpper(span.Status().Code.String()), "why": nil,
			"attributes": attributes(span.Attributes()), "scope": span.InstrumentationScope().Name,
		}
		if span.Parent().HasSpanID() {
			line["parent"] = span.Parent().SpanID().String()
		}
		if why := span.Status().Description; why != "" {
			line["why"] = why
		}
		events := []any{}
		for _, event := range span.Events() {
			events = append(events, []any{event.Name, attributes(event.Attributes)})
		}
		line["events"] = events
		raw, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("span %s: %w", span.Name(), err)
		}
		conn := e.journal.Get()
		_, err = conn.Do("RPUSH", "spans", raw)
		if closed := conn.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runtimes keeps how often each series of histograms was recorded, as traced.py does.
type runtimes struct {
	sdkmetric.Exporter // nil: all that is asked for is below

	journal *redis.Pool
}

func (runtimes) Temporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	return metricdata.CumulativeTemporality
}

func (runtimes) Aggregation(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(kind)
}

func (runtimes) ForceFlush(context.Context) error { return nil }
func (runtimes) Shutdown(context.Context) error   { return nil }

func (r runtimes) Export(_ context.Context, all *metricdata.ResourceMetrics) error {
	conn := r.journal.Get()
	defer conn.Close()
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			histogram, _ := m.Data.(metricdata.Histogram[float64])
			for _, p := range histogram.DataPoints {
				labels := [][2]any{} // sorted
				for _, kv := range p.Attributes.ToSlice() {
					labels = append(labels, [2]any{string(kv.Key), kv.Value.AsInterface()})
				}
				series, err := json.Marshal([]any{m.Name, m.Unit, m.Description, labels})
				if err == nil {
					_, err = conn.Do("HSET", "runtimes", fmt.Sprintf("%d %s", os.Getpid(), series), p.Count)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func attributes(list []attribute.KeyValue) map[string]any {
	all := map[string]any{}
	for _, kv := range list {
		all[string(kv.Key)] = kv.Value.AsInterface()
	}
	return all
}
