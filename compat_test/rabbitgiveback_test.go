package compat_test

import (
	"syscall"
	"testing"
)

// TestGiveBacksOnRabbitMQ stops workers, warm, that hold messages which nobody has started, more often than the quorum
// queue allows for messages to go back. With Celery these are gone; with ours all tasks run, and each once.
func TestGiveBacksOnRabbitMQ(t *testing.T) {
	t.Parallel()
	const limit, n = 2, 10
	for _, kind := range []struct {
		name  string
		loses bool
		work  func(t *testing.T, a app) *process
	}{
		{"Celery", true, func(t *testing.T, a app) *process {
			return a.startWorker(t, "-c", "1", "--prefetch-multiplier", "20")
		}},
		{"Apium", false, func(t *testing.T, a app) *process {
			return startWorker(t, a, "-c", "1", "--prefetch-multiplier", "20", "task_default_queue_type=quorum")
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			server.vhost.DeliveryLimit(t, limit)
			a := server.app()
			a.settings = map[string]any{"task_default_queue_type": "quorum"}
			load(t, a, "tapp.work", n, 1.2, nil)
			for range limit + 1 {
				before := server.journalLen(t, "started")
				w := kind.work(t, a)
				eventually(t, patience, "a task runs, and all others are held", func() bool {
					return server.journalLen(t, "started") > before && server.vhost.Queues(t)["celery"].Ready == 0
				})
				w.signal(t, syscall.SIGTERM)
				if code := w.exitCode(t); code != 0 {
					t.Errorf("exit code %d", code)
				}
			}
			kind.work(t, a)
			eventually(t, patience, "all is done", func() bool {
				return server.idle(t, "celery") && server.journalLen(t, "done") == server.journalLen(t, "started")
			})
			j := readJournal(t, server)
			t.Logf("not run: %v", j.lost(n))
			if len(j.lost(n)) > 0 != kind.loses || doubled(j.started) > 0 {
				t.Errorf("not run: %v; started: %v", j.lost(n), j.started)
			}
		})
	}
}
