package compat_test

import (
	"slices"
	"strings"
	"testing"
)

// TestHeldAheadOnRabbitMQ has a worker run many tasks that take no time, so that more are handed over to it than its
// prefetch limit says, and then one that takes for ever. What it holds above the limit goes back at once: Celery's worker
// runs it, each message once, on a quorum queue that drops what went back more than once, too.
func TestHeldAheadOnRabbitMQ(t *testing.T) {
	t.Parallel()
	const most, n = 2 * 4, 300 // what it had claimed, and what its limit says
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			server.vhost.DeliveryLimit(t, 1)
			a := server.app()
			a.settings = map[string]any{"task_default_queue_type": kind, "broker_transport_options": map[string]any{"confirm_publish": true}}
			a.run(t, nil, `
import tapp

for _ in range(1500):
    tapp.nothing.delay()
tapp.work.delay("long", 3600)
for i in range(300):
    tapp.work.delay("short %d" % i, 0)
`)
			w := launchWorker(t, a, "-c", "1", "-l", "error", "task_default_queue_type="+kind)
			short := func(what string) (n int) {
				for _, key := range slices.Compact(slices.Sorted(slices.Values(server.journalKeys(t, what)))) {
					if strings.HasPrefix(key, "short") {
						n++
					}
				}
				return n
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("at the end: %+v; started %d", server.vhost.Queues(t), len(server.journalKeys(t, "started")))
				}
			})
			eventually(t, patience, "the long task runs, and what is above the limit has gone back", func() bool {
				q := server.vhost.Queues(t)["celery"]
				// some may have overtaken the long one: several consumers get messages by ways of their own
				return slices.Contains(server.journalKeys(t, "started"), "long") && q.Unacked <= most && q.Ready+q.Unacked == n-short("started")
			})
			a.startWorker(t, "-n", "neighbor@h", "-c", "1")
			eventually(t, patience, "the other worker has run all others", func() bool { return short("done") >= n-most })
			w.kill()
			eventually(t, patience, "all are done", func() bool { return short("done") == n })
			if started := len(server.journalKeys(t, "started")); started != n+1 {
				t.Errorf("%d tasks started, want %d", started, n+1)
			}
		})
	}
}
