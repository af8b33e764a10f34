package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/worker"
)

// slowStore takes an hour.
type slowStore struct{ results backend.Store }

func (s slowStore) Store(ctx context.Context, records ...backend.Record) error {
	time.Sleep(time.Hour)
	return s.results.Store(ctx, records...)
}

func (s slowStore) Close() error { return s.results.Close() }

// A retry that an executor has published is announced when it says so, not when all else that
// waits is written: it may have started by then.
func TestRetryElsewhereIsAnnouncedAtOnce(t *testing.T) {
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.retry": func(p *process, run *worker.Run) worker.Outcome {
			run.Begin(context.Background(), p.pid)
			return worker.Outcome{Settled: &worker.Settled{State: protocol.Retry}}
		},
	}}
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		b.cfg.Store = slowStore{b.results}
		b.reg.Register("app.add", add)
		b.start()
		b.send(canvas.Sig("app.add", 1, 2)) // its result is written for an hour
		b.send(canvas.Sig("py.retry"))
		b.wantEvents("received", "started", "received", "started", "retried")
		b.sleep(3 * time.Hour)
		b.wantEvents("received", "started", "received", "started", "retried", "succeeded")
	})
}
