package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// What result_extended adds to records (Backend._get_result_meta).
func TestExtendedResults(t *testing.T) {
	const of = `"worker": "celery@test", "retries": 0, "queue": "celery"`
	for _, tt := range []struct {
		name   string
		call   canvas.Signature
		change func(*protocol.Task)
		record string
	}{
		{
			"success", canvas.Sig("app.echo", 1, "ü").Kw(map[string]any{"x": nil}), nil,
			`{"status": "SUCCESS", "result": [1, "\u00fc"], "traceback": null, "children": [], ` +
				`"name": "app.echo", "args": [1, "\u00fc"], "kwargs": {"x": null}, ` + of + `, "task_id": "it"}`,
		},
		{
			"arguments as others write them", canvas.Sig("app.quiet"), func(task *protocol.Task) {
				task.Args, task.Kwargs = []byte(`["ü",1.50]`), []byte(`{"x":[1,2]}`)
			},
			`{"status": "SUCCESS", "result": null, "traceback": null, "children": [], ` +
				`"name": "app.quiet", "args": ["\u00fc", 1.5], "kwargs": {"x": [1, 2]}, ` + of + `, "task_id": "it"}`,
		},
		{
			"failure", canvas.Sig("app.fail"), nil,
			`{"status": "FAILURE", "result": ` + badValue + `, "traceback": "...", "children": [], ` +
				`"name": "app.fail", "args": [], "kwargs": {}, ` + of + `, "task_id": "it"}`,
		},
		{
			"retry", canvas.Sig("app.again"), nil,
			`{"status": "RETRY", "result": ` + badValue + `, "traceback": "...", "children": [[["it", null], null]], ` +
				`"name": "app.again", "args": [], "kwargs": {}, ` + of + `, "task_id": "it"}`,
		},
		{
			"state of its own", canvas.Sig("app.progress"), nil,
			`{"status": "PROGRESS", "result": {"done": 0.5}, "traceback": null, "children": [], ` +
				`"name": "app.progress", "args": [], "kwargs": {}, ` + of + `, "task_id": "it"}`,
		},
		{
			"stamps", canvas.Sig("app.echo"), func(task *protocol.Task) {
				task.StampedHeaders, task.Stamps = []string{"tenant", "missing"}, []byte(`{"tenant": ["seven"], "hidden": 1}`)
			},
			`{"status": "SUCCESS", "result": [], "traceback": null, "children": [], "name": "app.echo", "args": [], "kwargs": {}, ` +
				of + `, "stamped_headers": ["tenant", "missing"], "tenant": ["seven"], "task_id": "it"}`,
		},
		{
			"unknown", canvas.Sig("app.missing", 1), nil,
			`{"status": "FAILURE", "result": {"exc_type": "NotRegistered", "exc_message": ["app.missing"], "exc_module": "celery.exceptions"}, ` +
				`"traceback": null, "children": [], "name": null, "args": null, "kwargs": null, "worker": null, "retries": null, "queue": null, "task_id": "it"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.ResultExtended = true
				b.echoes("app.echo")
				b.reg.Register("app.fail", failing)
				b.reg.Register("app.quiet", func(_ string, _ float64, _ []int) {}, tasks.Params("a, b, x"))
				b.reg.Register("app.again", func() error { return tasks.Retry(failing(), tasks.RetryCountdown(time.Hour)) })
				b.reg.Register("app.progress", func(ctx context.Context) error {
					if err := tasks.UpdateState(ctx, "PROGRESS", map[string]any{"done": 0.5}); err != nil {
						return err
					}
					return tasks.Ignore()
				})
				b.start()
				if tt.change == nil {
					tt.change = func(*protocol.Task) {}
				}
				b.sendChanged(tt.call.Set(canvas.TaskID("it")), tt.change)
				b.wantRecord("it", tt.record)
			})
		})
	}
}

// Retried until it succeeds: the record says how often.
func TestExtendedResultAfterRetries(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.ResultExtended = true
		b.reg.Register("app.again", func(ctx context.Context) error {
			if tasks.Current(ctx).Retries < 2 {
				return tasks.Retry(nil, tasks.RetryCountdown(time.Second))
			}
			return nil
		})
		b.start()
		b.send(named("again"))
		b.sleep(time.Minute)
		b.wantRecord("again", `{"status": "SUCCESS", "result": null, "traceback": null, "children": [], "parent_id": "again", `+
			`"name": "app.again", "args": [], "kwargs": {}, "worker": "celery@test", "retries": 2, "queue": "celery", "task_id": "again"}`)
	})
}
