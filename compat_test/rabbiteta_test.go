package compat_test

import (
	"testing"
)

// TestFarETAsOnRabbitMQ sends more tasks that are due in an hour than workers prefetch, and plain ones behind them. The quorum
// queue has a limit for each consumer, which Celery's worker cannot raise: with far ETAs it has reached that, and the broker
// gives it nothing more. Ours has them wait in the broker, and does the others.
func TestFarETAsOnRabbitMQ(t *testing.T) {
	t.Parallel()
	const far, plain, prefetch = 12, 3, 8
	for name, begin := range map[string]func(*testing.T, app) *process{
		"Celery":   func(t *testing.T, a app) *process { return a.startWorker(t) },
		"Go":       func(t *testing.T, a app) *process { return startWorker(t, a, "task_default_queue_type=quorum") },
		"children": func(t *testing.T, a app) *process { return a.startChildren(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			a := server.app()
			a.settings = map[string]any{"task_default_queue_type": "quorum"}
			load(t, a, "tapp.work", far, 0, map[string]any{"countdown": 3600})
			load(t, a, "tapp.work", plain, 0, nil)
			begin(t, a)
			if name == "Celery" {
				eventually(t, patience, "the worker is given no more", func() bool {
					q := server.vhost.Queues(t)["celery"]
					return q.Unacked == prefetch && q.Ready == far+plain-prefetch
				})
				if n := server.journalLen(t, "started"); n > 0 {
					t.Errorf("%d tasks have started", n)
				}
				return
			}
			eventually(t, patience, "the plain ones are done, and the others wait elsewhere", func() bool {
				q := server.vhost.Queues(t)["celery"]
				return server.journalLen(t, "done") == plain && q.Ready+q.Unacked == 0 && server.messages(t) == far
			})
		})
	}
}
