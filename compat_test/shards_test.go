package compat_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	apium "github.com/apium/apium/app"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// TestWorkersOnTwoRedis has two workers in one process, each on a Redis of its own, as docs/scale.md has them: Celery's producers on
// either side get their results, a chain goes on where it began, and each side sees one worker.
func TestWorkersOnTwoRedis(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	reg.Register("tapp.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	sides := map[string]app{"orders": startRedis(t).app(), "mail": startRedis(t).app()}
	for name, side := range sides {
		conf := settings.Default()
		conf.BrokerURL, conf.ResultBackend = side.broker, side.backend
		w, err := apium.NewWorker(ctx, reg, conf, apium.Options{Hostname: name + "@h", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		workers.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for name, side := range sides {
		side.run(t, nil, `
import sys, tapp
from celery import chain, group
assert chain(tapp.add.s(1, 2), tapp.add.s(3))().get(timeout=tapp.PATIENCE) == 6
assert group(tapp.add.s(i, i) for i in range(20))().get(timeout=tapp.PATIENCE) == [2 * i for i in range(20)]
nodes = tapp.app.control.inspect(timeout=tapp.PATIENCE, limit=1).ping()
assert list(nodes) == [sys.argv[1] + "@h"], nodes
`, name)
	}
}
