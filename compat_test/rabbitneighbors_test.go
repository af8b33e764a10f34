package compat_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/operate/control"
)

// TestNeighborsOnRabbitMQ has workers of both kinds mingle, gossip and answer, each version's.
func TestNeighborsOnRabbitMQ(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			a := server.app()
			a.venv = venv
			py := a.startNeighbor(t, "py@host")
			a.revokeAt(t, "py@host", "1")
			w := a.startMingler(t, "go@host", 1)
			w.waitLog(t, "mingle: sync complete")
			a.wantRevoked(t, "go@host", "1")
			py.waitLog(t, "go@host joined the party")
			w.waitLog(t, "py@host joined the party")
			a.startMingler(t, "py2@host", 2)
			a.wantRevoked(t, "py2@host", "1")

			// Celery's command is answered by Go, and Celery answers Go's.
			var got []string
			a.run(t, &got, `import json, tapp
print(json.dumps(sorted(tapp.app.control.inspect(["go@host", "py@host"], timeout=tapp.PATIENCE).ping())))`)
			if want := []string{"go@host", "py@host"}; !slices.Equal(got, want) {
				t.Errorf("Celery was answered by %v", got)
			}
			if got, want := server.pinged(t, patience, "go@host", "py@host"), []string{"go@host", "py@host"}; !slices.Equal(got, want) {
				t.Errorf("Go was answered by %v", got)
			}
		})
	}
}

// pinged are the nodes that answer Go within some time.
func (s *redisServer) pinged(t *testing.T, within time.Duration, nodes ...string) (answers []string) {
	t.Helper()
	asker := s.asker(t)
	replies, err := (&control.Client{Broadcaster: asker, Asker: asker}).Ask(t.Context(), control.Question{
		Command: "ping", Destination: nodes, Timeout: within,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range replies {
		answers = append(answers, r.Node)
	}
	slices.Sort(answers)
	return answers
}

// TestMailboxesOnRabbitMQ compares what workers have declared for themselves with Celery's.
func TestMailboxesOnRabbitMQ(t *testing.T) {
	t.Parallel()
	server := startRabbit(t)
	a := server.app()
	a.startNeighbor(t, "py@host")
	a.startNeighbor(t, "go@host")
	var of map[string][]mailbox
	eventually(t, patience, "both have their mailboxes", func() bool {
		of = mailboxes(t, server.vhost)
		return len(of["celery.pidbox"]) == 2 && len(of["celeryev"]) == 2
	})
	for _, kind := range []string{"celery.pidbox", "celeryev"} {
		if of[kind][0].Queue.Name == "" {
			t.Errorf("%s: %v", kind, of[kind])
		}
		if diff := cmp.Diff(of[kind][0], of[kind][1]); diff != "" {
			t.Errorf("%s (of one -of the other):\n%s", kind, diff)
		}
	}
	assertExchanges(t, server.vhost)
}

// TestSameNameOnRabbitMQ starts a second worker of a name: while the first one works, and after it has stopped in a way that
// the broker has not noticed, as when its machine is lost. Celery's second one ends, because the mailbox is the first one's.
// Ours works, and has the mailbox as soon as that is free.
func TestSameNameOnRabbitMQ(t *testing.T) {
	t.Parallel()
	for name, stops := range map[string]bool{"two at once": false, "fast restart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			a := server.app()
			first := a.startWorker(t, "-n", "py@host", "-Q", "python")
			if stops {
				first.signal(t, syscall.SIGSTOP)
			}
			second := start(t, "a second py@host", appDir, a.env(t), a.python(),
				celeryCommand(a.venv, []string{"worker", "-n", "py@host", "-c", "1", "-Q", "python", "--without-mingle", "--without-gossip"})...)
			if code := second.exitCode(t); code != 1 || !second.log.contains("RESOURCE_LOCKED") {
				t.Errorf("a second Celery worker of the name ended with %d", code)
			}
			for node, begin := range map[string]func(args ...string) *process{
				"go@host":       func(args ...string) *process { return startWorker(t, a, args...) },
				"children@host": func(args ...string) *process { return a.startChildren(t, args...) },
			} {
				queue, _, _ := strings.Cut(node, "@")
				first := begin("-n", node, "-Q", queue)
				if stops {
					first.signal(t, syscall.SIGSTOP)
				}
				second := begin("-n", node, "-Q", queue+",second of "+queue)
				second.waitLog(t, "A node named "+node+" is already using this process mailbox!")
				a.run(t, nil, `import sys, tapp; assert tapp.add.apply_async((1, 2), queue="second of " + sys.argv[1]).get(timeout=tapp.PATIENCE) == 3`, queue)
				first.kill()
				eventually(t, patience, "the second worker has the mailbox", func() bool { return len(server.pinged(t, time.Second, node)) == 1 })
				second.signal(t, syscall.SIGTERM)
				if code := second.exitCode(t); code != 0 {
					t.Errorf("%s: exit code %d", node, code)
				}
			}
		})
	}
}

// mailbox is a queue in which a worker is told something, and how that gets there.
type mailbox struct {
	Queue   rabbittest.Queue
	Binding rabbittest.Binding
}

// mailboxes are those of all workers that have a consumer, by the exchange; names are without what only one
// worker has.
func mailboxes(t *testing.T, v *rabbittest.VHost) map[string][]mailbox {
	t.Helper()
	queues, of := v.Queues(t), map[string][]mailbox{}
	for _, b := range v.Bindings(t) {
		q := queues[b.Destination]
		if b.Source != "celery.pidbox" && b.Source != "celeryev" || q.Consumers == 0 {
			continue
		}
		q.Name = strings.TrimPrefix(strings.TrimPrefix(q.Name, "py@"), "go@")
		if b.Source == "celeryev" {
			q.Name, _, _ = strings.Cut(q.Name, ".")
		}
		q.Ready, q.Unacked = 0, 0 // what is on its way at this moment
		b.Destination = q.Name
		of[b.Source] = append(of[b.Source], mailbox{q, b})
	}
	return of
}

// assertExchanges declares Celery's exchanges as Celery does: any difference is an error.
func assertExchanges(t *testing.T, v *rabbittest.VHost) {
	t.Helper()
	ch := rabbittest.Channel(t, v.URL())
	for _, e := range []struct {
		name, kind string
		durable    bool
	}{
		{"celery.pidbox", "fanout", false},
		{"reply.celery.pidbox", "direct", false},
		{"celeryev", "topic", true},
	} {
		if err := ch.ExchangeDeclare(e.name, e.kind, e.durable, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
}
