package main

import (
	"context"
	"strings"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// registerRPC adds the tasks of testdata/app/rpcapp.py that can be written in Go.
func registerRPC(reg registrar) {
	x, nothing := tasks.Params("x"), tasks.Params("")
	same := func(x any) any { return x }
	retry := func() error { return tasks.Retry(tasks.Raise("KeyError", "k"), tasks.RetryCountdown(0)) }
	reg.Register("rpcapp.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	reg.Register("rpcapp.fail", func(what string) error { return tasks.Raise("ValueError", what) }, tasks.Params("what"))
	reg.Register("rpcapp.progress", func(ctx context.Context) (string, error) {
		return "ok", tasks.UpdateState(ctx, "PROGRESS", map[string]any{"n": 1})
	}, nothing)
	reg.Register("rpcapp.again", func(ctx context.Context) (int, error) {
		if n := tasks.Current(ctx).Retries; n >= 2 {
			return n, nil
		}
		return 0, retry()
	}, nothing, tasks.MaxRetries(2))
	reg.Register("rpcapp.exhaust", retry, nothing, tasks.MaxRetries(1))
	reg.Register("rpcapp.started", func() int { return 1 }, nothing, tasks.TrackStarted(true))
	reg.Register("rpcapp.info", func(ctx context.Context) []any {
		req := tasks.Current(ctx)
		return []any{req.Exchange, req.RoutingKey, req.Priority, req.CorrelationID == req.ID}
	}, nothing)
	reg.Register("rpcapp.parent", func(ctx context.Context) (string, error) {
		_, err := tasks.Send(ctx, canvas.Sig("rpcapp.add", 1, 1))
		return "sent", err
	}, nothing)
	reg.Register("rpcapp.told", same, tasks.Params("task_id"))
	reg.Register("rpcapp.ignored", same, x, tasks.IgnoreResult(true))
	reg.Register("rpcapp.late", same, x, tasks.AcksLate(true))
	reg.Register("rpcapp.big", func(n int) string { return strings.Repeat("x", n) }, tasks.Params("n"))
}
