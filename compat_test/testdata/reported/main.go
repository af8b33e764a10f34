// Command reported serves the Go twins of testdata/app/reported.py. It is a program of its own, so that the worker of the other
// tests is what a user's is without Sentry.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/apium/apium/cli"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/sentrytasks"
)

func main() {
	err := sentry.Init(sentry.ClientOptions{EnableTracing: true, TracesSampleRate: 1, DataCollection: &sentry.DataCollection{}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // before there is a command line
	}
	reg := tasks.NewRegistry()
	sentrytasks.Connect(reg)
	register(reg)
	cli.Main(reg)
}

// here sends a task to the queue that this one came from.
func here(ctx context.Context, sig canvas.Signature) canvas.Signature {
	return sig.Set(canvas.Queue(tasks.Current(ctx).Queue))
}

func register(reg *tasks.Registry) {
	reg.Register("reported.add", func(ctx context.Context, x, y int) int {
		sentry.GetHubFromContext(ctx).Scope().SetTag("shop", "first")
		span := sentry.StartSpan(ctx, "shop.inner", sentry.WithDescription("inner"), sentry.WithSpanOrigin(sentry.SpanOriginManual))
		defer span.Finish()
		return x + y
	}, tasks.Params("x, y"))
	reg.Register("reported.fails", func(ctx context.Context, _ []any, _ map[string]any) error {
		hub := sentry.GetHubFromContext(ctx)
		hub.Scope().SetTag("shop", "second")
		hub.AddBreadcrumb(&sentry.Breadcrumb{Message: "before", Category: "shop"}, nil)
		return tasks.Raise("ValueError", "bad", 1)
	}, tasks.Params("*args, **kwargs"))
	reg.Register("reported.own", func() error { return tasks.Raise("shoperrors.OutOfStock", "pen", 3) }, tasks.Params(""))
	reg.Register("reported.throws", func() error { return tasks.Raise("KeyError", "k") }, tasks.Params(""),
		tasks.Throws(func(err error) bool { return tasks.ExceptionOf(err).Type == "KeyError" }))
	reg.Register("reported.again", func(ctx context.Context) (int, error) {
		if n := tasks.Current(ctx).Retries; n > 0 {
			return n, nil
		}
		return 0, tasks.Retry(tasks.Raise("ValueError", "busy"), tasks.RetryCountdown(500*time.Millisecond))
	}, tasks.Params(""))
	reg.Register("reported.vain", func() error {
		return tasks.Retry(tasks.Raise("ValueError", "busy"), tasks.RetryCountdown(100*time.Millisecond))
	}, tasks.Params(""), tasks.MaxRetries(1))
	reg.Register("reported.sends", func(ctx context.Context) error {
		span := sentry.StartSpan(ctx, "shop.inner", sentry.WithDescription("inner"), sentry.WithSpanOrigin(sentry.SpanOriginManual))
		defer span.Finish()
		_, err := tasks.Send(span.Context(), here(ctx, canvas.Sig("reported.add", 1, 2)))
		return err
	}, tasks.Params(""))
	reg.Register("reported.ignores", func() error { return tasks.Ignore() }, tasks.Params(""))
	reg.Register("reported.rejects", func() error { return tasks.RejectWithReason("why", false) }, tasks.Params(""))
	reg.Register("reported.replaced", func(ctx context.Context) error {
		return tasks.Replace(ctx, here(ctx, canvas.Sig("reported.add", 3, 4)))
	}, tasks.Params(""))
	reg.Register("reported.total", func(numbers []int) (sum int) {
		for _, n := range numbers {
			sum += n
		}
		return sum
	}, tasks.Params("numbers"))
	reg.Register("reported.relay", func(ctx context.Context) error {
		_, err := tasks.Send(ctx, canvas.Sig("reported.add", 5, 6).Set(canvas.Queue("theirs")))
		return err
	}, tasks.Params(""))
}
