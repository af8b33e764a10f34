package compat_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDeliveryLimitOnRabbitMQ kills workers that run a task, each time. The quorum queue drops a message that has come back
// twice: with Celery it is gone, and its caller waits for ever. Ours count for themselves, beyond that limit, too: in the
// end the task fails, and is a dead letter.
func TestDeliveryLimitOnRabbitMQ(t *testing.T) {
	t.Parallel()
	const limit, most = 1, 2
	for name, begin := range map[string]func(*testing.T, app) *process{
		"Celery": func(t *testing.T, a app) *process { return a.startWorker(t) },
		"Go": func(t *testing.T, a app) *process {
			return startWorker(t, a, "task_default_queue_type=quorum", "--max-redeliveries", strconv.Itoa(most))
		},
		"children": func(t *testing.T, a app) *process {
			return a.startChildren(t, "--max-redeliveries", strconv.Itoa(most))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			server.vhost.DeliveryLimit(t, limit)
			a := server.app()
			a.settings = map[string]any{"task_default_queue_type": "quorum"}
			a.run(t, nil, `import tapp; tapp.wait_late.apply_async(["poison"], task_id="poison")`)
			deaths := most
			if name == "Celery" {
				deaths = limit
			}
			for counted := 0; counted <= deaths; counted++ {
				before := server.journalLen(t, "started")
				w := begin(t, a)
				eventually(t, patience, "the task runs", func() bool { return server.journalLen(t, "started") > before })
				if name != "Celery" && counted > 0 {
					eventually(t, patience, "it is known to run", func() bool { return held(t, server) })
				}
				w.kill()
			}
			if name == "Celery" {
				eventually(t, patience, "the message is gone", func() bool { return server.messages(t, "celery") == 0 })
				if n := server.int(t, "EXISTS", "celery-task-meta-poison"); n > 0 {
					t.Error("it has a result")
				}
				return
			}
			begin(t, a)
			var got []string
			a.run(t, &got, `
import json, tapp
try: tapp.app.AsyncResult("poison").get(timeout=tapp.PATIENCE)
except Exception as exc: print(json.dumps([type(exc).__name__, str(exc)]))
`)
			if want := []string{"WorkerLostError", "Worker exited prematurely: given back 3 times because a worker died"}; !slices.Equal(got, want) {
				t.Errorf("its caller gets %q, want %q", got, want)
			}
			if letters := deadLetters(t, a); len(letters) != 1 || letters[0].TaskID != "poison" {
				t.Errorf("dead letters: %+v", letters)
			}
			if n := server.journalLen(t, "started"); n <= most {
				t.Errorf("it has started %d times, want %d", n, most+1)
			}
		})
	}
}

// held tells whether a worker holds a message in a queue of its own, and nowhere else.
func held(t *testing.T, server *redisServer) (held bool) {
	t.Helper()
	for name, q := range server.vhost.Queues(t) {
		switch {
		case strings.HasPrefix(name, "apium.held.") && q.Unacked > 0:
			held = true
		case q.Ready+q.Unacked > 0:
			return false
		}
	}
	return held
}
