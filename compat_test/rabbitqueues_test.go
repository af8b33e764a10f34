package compat_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// queueOptions are queues of each kind that task_queues can describe, and that RabbitMQ takes.
var queueOptions = map[string]any{
	"plain":      map[string]any{},
	"priorities": map[string]any{"queue_arguments": map[string]any{"x-max-priority": 9}},
	"consumed":   map[string]any{"consumer_arguments": map[string]any{"x-priority": 3}},
	"single":     map[string]any{"queue_arguments": map[string]any{"x-single-active-consumer": true}},
	"own":        map[string]any{"exclusive": true},
	"transient":  map[string]any{"durable": false, "queue_auto_delete": true},
	"letters":    map[string]any{"queue_arguments": map[string]any{"x-dead-letter-exchange": "dlx", "x-message-ttl": 3600000, "x-max-length": 1 << 40}},
	"topic":      map[string]any{"exchange": "topics", "exchange_type": "topic", "routing_key": "topic.#", "binding_arguments": map[string]any{"a": 1}},
	"fanout":     map[string]any{"exchange": "everybody", "exchange_type": "fanout", "exchange_arguments": map[string]any{"b": "c"}},
}

// TestQueuesOnRabbitMQ compares what Celery's worker and ours declare, bind and consume of queues with all sorts of options. Then ours
// has tasks in all of them, more than it prefetches: it serves each.
func TestQueuesOnRabbitMQ(t *testing.T) {
	t.Parallel()
	python, _, _ := consumes(t, app.startWorker)
	apium, server, a := consumes(t, app.startChildren)
	if diff := cmp.Diff(python, apium); diff != "" {
		t.Errorf("(-Celery +Apium):\n%s", diff)
	}
	if n := strings.Count(strings.Join(python, "\n"), "basic.consume"); n != len(queueOptions) {
		t.Errorf("Celery's worker consumes %d queues", n)
	}
	a.run(t, nil, `
import tapp
for i in range(12):
    for queue in tapp.app.conf.task_queues:
        if queue not in ("own", "fanout"): tapp.work_late.apply_async((queue, 0), queue=queue)
`)
	eventually(t, patience, "all are done", func() bool { return server.journalLen(t, "done") == 12*(len(queueOptions)-2) })
}

// consumes is what a worker says of the queues.
func consumes(t *testing.T, begin func(app, *testing.T, ...string) *process) (lines []string, server *redisServer, a app) {
	t.Helper()
	server = startRabbit(t)
	record := newRecorder(t, server.vhost.Server().Addr())
	a = server.app()
	direct := a
	a.broker, a.backend = server.vhost.URLAt(record.addr()), server.url(0)
	a.settings = map[string]any{"task_queues": queueOptions, "task_default_queue": "plain"}
	direct.backend, direct.settings = a.backend, a.settings
	begin(a, t)
	for _, s := range record.said(t) {
		about := s.arguments["queue"]
		if s.method == "exchange.declare" || s.method == "exchange.bind" {
			about = s.arguments["exchange"]
		}
		name, _ := about.(string)
		if s.method == "basic.publish" || strings.Contains(name, "celery") {
			continue
		}
		if line := frameLine(s); line != "" {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines), server, direct
}
