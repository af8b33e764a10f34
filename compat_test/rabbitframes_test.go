package compat_test

import (
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFramesOnRabbitMQ has Celery's worker and ours run tasks, one of them twice and two later, answer and end, and compares what
// they say to RabbitMQ of tasks, remote control, events and gossip: what is declared, bound and consumed, and how it is published.
func TestFramesOnRabbitMQ(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			want := framesOf(t, venv, "py@host")
			nodes := []string{"children@host"}
			if venv == celery57 {
				nodes = append(nodes, "go@host")
			}
			for _, node := range nodes {
				if diff := cmp.Diff(want, framesOf(t, venv, node)); diff != "" {
					t.Errorf("%s (-Celery +Apium):\n%s", node, diff)
				}
			}
		})
	}
}

// framesOf is what a worker says in its life, each once.
func framesOf(t *testing.T, venv, node string) []string {
	t.Helper()
	server := startRabbit(t)
	record := newRecorder(t, server.vhost.Server().Addr())
	a := server.app()
	a.venv = venv
	direct := a
	a.broker = server.vhost.URLAt(record.addr())
	a.backend = server.url(0)
	var w *process
	if node == "children@host" {
		w = a.startChildren(t, "-n", node, "-Q", "celery,children", "-c", "1", "-E")
	} else {
		w = a.startNeighbor(t, node, "-E")
	}
	eventually(t, patience, "it answers", func() bool { return slices.Equal(server.pinged(t, patience, node), []string{node}) })
	direct.run(t, nil, `
import tapp
assert tapp.add.delay(1, 2).get(timeout=tapp.PATIENCE) == 3
assert tapp.again.delay().get(timeout=tapp.PATIENCE) == 1
assert tapp.add.apply_async((1, 2), countdown=1).get(timeout=tapp.PATIENCE) == 3
[r.get(timeout=tapp.PATIENCE) for r in [tapp.limited.delay("key"), tapp.limited.delay("key")]]
`)
	eventually(t, patience, "it is acknowledged", func() bool { return server.messages(t, "celery") == 0 })
	eventually(t, patience, "it has told that it lives", func() bool {
		return slices.ContainsFunc(record.said(t), func(s said) bool { return s.arguments["routing_key"] == "worker.heartbeat" })
	})
	w.signal(t, syscall.SIGTERM)
	w.exitCode(t)
	own, _, _ := strings.Cut(node, "@")
	names := []string{node, "NODE", "=" + own, "=OWN"}
	if venv != celery57 {
		names = append(names, " exclusive=true", "") // which the mailboxes of earlier versions are not
	}
	var lines []string
	for _, s := range record.said(t) {
		if line := frameLine(s); line != "" {
			line = uuids.ReplaceAllString(strings.NewReplacer(names...).Replace(line), "UUID")
			lines = append(lines, senders.ReplaceAllString(line, "genPID@"))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// senders are the processes that have sent a task.
var senders = regexp.MustCompile(`gen\d+@`)

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// frameLine is a method in one line, "" if both differ on purpose.
func frameLine(s said) string {
	switch s.method {
	case "basic.qos", // each consumer of ours has its own limit: see broker/amqpbroker/prefetch.go
		"basic.ack",      // ours may stand for many
		"basic.cancel",   // at the end ours closes the channel
		"confirm.select": // Celery does not ask for confirmation
		return ""
	case "basic.consume":
		return s.line("consumer_tag", "nowait") // any text that is unique does; Celery waits for the last answer only
	case "basic.publish":
		if headers, ok := s.properties["headers"].(map[string]any); ok {
			for _, changes := range []string{"clock", "expires", "ticket"} {
				if _, there := headers[changes]; there {
					headers[changes] = "ANY"
				}
			}
		}
		return s.line("mandatory") // ours wants to know what nobody gets
	}
	return s.line()
}

// TestPrefetchOfPools has workers' pools grow by remote control: the broker hands over as much more to ours as Celery's worker
// asks it to, though nothing is there to run. Celery's has one limit for its channel (basic.qos), ours one for each consumer.
func TestPrefetchOfPools(t *testing.T) {
	t.Parallel()
	server := startRabbit(t)
	record := newRecorder(t, server.vhost.Server().Addr())
	a := server.app()
	direct := a
	a.broker = server.vhost.URLAt(record.addr())
	a.startWorker(t, "-n", "py@h", "-c", "2", "--prefetch-multiplier", "3", "-Q", "py")
	direct.startChildren(t, "-n", "children@h", "-c", "2", "--prefetch-multiplier", "3", "-Q", "children")
	startWorker(t, direct, "-n", "go@h", "-c", "2", "--prefetch-multiplier", "3", "-Q", "go")
	celery := func() (count any) {
		for _, s := range record.said(t) {
			if s.method == "basic.qos" {
				count = s.arguments["count"]
			}
		}
		return count
	}
	for _, step := range []struct {
		command string
		limit   int
	}{{"", 6}, {"pool_grow(2)", 12}} {
		if step.command != "" {
			direct.run(t, nil, `import tapp; assert len(tapp.app.control.`+strings.TrimSuffix(step.command, ")")+`, reply=True, limit=3, timeout=tapp.PATIENCE)) == 3`)
		}
		eventually(t, patience, step.command+": Celery's limit", func() bool { return celery() == step.limit })
		for _, queue := range []string{"children", "go"} {
			eventually(t, patience, step.command+": our limit for "+queue, func() bool { return server.vhost.Prefetch(t, queue) == step.limit })
		}
	}
}
