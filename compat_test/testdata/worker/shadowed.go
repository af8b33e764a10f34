package main

import (
	"context"
	"os"

	"github.com/apium/apium/app"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// registerShadowed adds the twins of testdata/app/shadowed.py, if SHADOWED is set: no other test looks at them.
func registerShadowed(reg registrar, j *journal) {
	if os.Getenv("SHADOWED") == "" {
		return
	}
	changes := func(ctx context.Context, what string) error {
		if tasks.Shadowed(ctx) {
			return nil
		}
		return j.write("changed", what)
	}
	reg.Register("shadowed.price", func(ctx context.Context, item string, n int) (map[string]any, error) {
		each := 4
		if item == "tea" {
			each = 5
		}
		return map[string]any{"of": []any{1, map[string]any{"each": each}}, "total": 2.5 * float64(n), "item": item}, changes(ctx, "go "+item)
	}, tasks.Params("item, n=1"), tasks.Shadowable())
	reg.Register("shadowed.fail", func(kind string) error {
		if kind == "other" {
			return tasks.Raise("KeyError", kind)
		}
		return tasks.Raise("ValueError", "said otherwise: "+kind)
	}, tasks.Params("kind"), tasks.Shadowable())
	reg.Register("shadowed.again", func(ctx context.Context) (string, error) {
		if tasks.Current(ctx).Retries == 0 {
			return "", tasks.Retry(nil, tasks.RetryCountdown(0))
		}
		return "retried", nil
	}, tasks.Params(""), tasks.MaxRetries(1), tasks.Shadowable())
	reg.Register("shadowed.send", func(ctx context.Context) (string, error) {
		if err := tasks.UpdateState(ctx, "PROGRESS", nil); err != nil {
			return "", err
		}
		if _, err := tasks.Send(ctx, canvas.Sig("shadowed.price", "sent by a shadow")); err != nil {
			return "", err
		}
		if err := delay(ctx, "shadowed.price", "sent by a shadow's client"); err != nil {
			return "", err
		}
		return "sent", changes(ctx, "go sends")
	}, tasks.Params(""), tasks.Shadowable())
	reg.Register("shadowed.odd", func() int { return 1 }, tasks.Params(""), tasks.Shadowable())
	reg.Register("shadowed.quiet", func(x any) any { return x }, tasks.Params("x"), tasks.Shadowable())
	reg.Register("shadowed.unaware", func() {})
}

// delay sends a task as any producer does.
func delay(ctx context.Context, task string, args ...any) error {
	conf, err := settings.Load(settings.Sources{Args: []string{"broker_url=" + os.Getenv("BROKER"), "task_default_queue=shadowed"}})
	if err != nil {
		return err
	}
	producer, err := app.Open(ctx, conf)
	if err != nil {
		return err
	}
	defer producer.Close()
	_, err = producer.Delay(ctx, task, args...)
	return err
}
