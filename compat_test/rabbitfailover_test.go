package compat_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestFailoverOnRabbitMQ has workers with a list of two servers, of which the first cannot be reached when they start, then the
// second not any more, then the first again, then neither for a while. Each time the list is gone through from its beginning, and said
// in Celery's lines.
func TestFailoverOnRabbitMQ(t *testing.T) {
	t.Parallel()
	server := startRabbit(t)
	addr := server.vhost.Server().Addr()
	first, second := newNetwork(t, addr), newNetwork(t, addr)
	refuse := func(n *network, refuses bool) { n.set(func(n *network) { n.refuses = refuses }) }
	a := server.app()
	a.settings = map[string]any{"worker_enable_remote_control": false} // Celery's ends when its mailbox still is the lost connection's
	a.broker = strings.Replace(server.vhost.URLAt(first.addr()), "amqp://", "pyamqp://", 1) + ";" + server.vhost.URLAt(second.addr())
	refuse(first, true)
	workers := map[string]*process{
		"Celery": a.startWorker(t, "-n", "py@h", "-Q", "Celery"), "Go": startWorker(t, a, "-n", "go@h", "-Q", "Go"), "children": a.startChildren(t, "-n", "children@h", "-Q", "children"),
	}
	work := func() {
		a.run(t, nil, `
import tapp
for r in [tapp.add.apply_async((1, 2), queue=q) for q in ("Celery", "Go", "children")]: assert r.get(timeout=tapp.PATIENCE) == 3
`)
	}
	said := map[string]int{} // how much of each worker's log was looked at
	says := func(what string, lines ...string) {
		t.Helper()
		for name, w := range workers {
			for _, line := range lines {
				re := regexp.MustCompile(line)
				eventually(t, patience, name+", "+what+": "+line, func() bool { return re.MatchString(w.log.String()[said[name]:]) })
			}
			said[name] = len(w.log.String())
		}
	}
	at := func(n *network) string {
		return `amqp://guest:\*\*@` + regexp.QuoteMeta(n.addr()) + `/` + server.vhost.Name
	}
	const failover = `: .*\.\s+Will retry using next failover\.`
	says("at the start", `transport:   `+at(first)+"\n", `consumer: Cannot connect to `+at(first)+failover, `Connected to `+at(second))
	work()
	refuse(first, false)
	second.cut()
	says("the second is lost", `consumer: Connection to broker lost`, `Connected to `+at(first))
	work()
	refuse(first, true)
	first.cut()
	says("the first is lost", `consumer: Cannot connect to `+at(first)+failover, `Connected to `+at(second))
	work()
	refuse(second, true)
	second.cut()
	says("both are lost", `consumer: Cannot connect to `+at(first)+failover, `consumer: Cannot connect to `+at(second)+`: .*\.\s+Trying again in 2\.00 seconds\.\.\. \(1/100\)`)
	refuse(second, false)
	says("one is back", `Connected to `+at(second))
	work()
}
