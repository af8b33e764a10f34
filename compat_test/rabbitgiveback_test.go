package compat_test

import (
	"strconv"
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

// TestPoolsThatShrinkOnRabbitMQ lets pools shrink and grow again and again while they hold messages that nobody has
// started, of a quorum queue that allows few to go back: every task runs, and once.
func TestPoolsThatShrinkOnRabbitMQ(t *testing.T) {
	t.Parallel()
	const n = 40
	for _, kind := range []struct {
		name string
		work func(t *testing.T, a app, args ...string) *process
	}{
		{"Go", func(t *testing.T, a app, args ...string) *process {
			return startWorker(t, a, append(args, "task_default_queue_type=quorum")...)
		}},
		{"children", func(t *testing.T, a app, args ...string) *process { return a.startChildren(t, args...) }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			server.vhost.DeliveryLimit(t, 5)
			a := server.app()
			a.settings = map[string]any{"task_default_queue_type": "quorum"}
			kind.work(t, a, "-c", "6", "--prefetch-multiplier", "4")
			var changes int
			a.run(t, &changes, `
import tapp, time
control, changes, journal, end = tapp.app.control, 0, tapp._journal(), time.monotonic() + tapp.PATIENCE
for i in range(`+strconv.Itoa(n)+`):
    tapp.work.delay(str(i), 0.3)
while journal.llen("done") < `+strconv.Itoa(n)+` and time.monotonic() < end:
    for change in control.pool_shrink, control.pool_grow:
        replies = change(5, reply=True, limit=1, timeout=tapp.PATIENCE)
        assert replies, "no reply"
        changes += any("ok" in reply for said in replies for reply in said.values())
print(changes)`)
			t.Logf("%d changes", changes)
			eventually(t, patience, "all is done", func() bool { return server.idle(t, "celery") })
			if j := readJournal(t, server); len(j.lost(n)) > 0 || doubled(j.started) > 0 || changes == 0 {
				t.Errorf("not run: %v; started: %v", j.lost(n), j.started)
			}
		})
	}
}
