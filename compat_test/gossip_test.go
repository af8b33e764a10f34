package compat_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// startNeighbor starts a worker of either kind that mingles and gossips, which others
// started here do not. options are further ones.
func (a app) startNeighbor(t *testing.T, node string, options ...string) *process {
	t.Helper()
	name, _, _ := strings.Cut(node, "@")
	args := append([]string{"worker", "-c", "1", "-l", "debug", "-n", node, "-Q", "celery," + name}, options...)
	var p *process
	if strings.HasPrefix(name, "go") {
		p = start(t, node, "", []string{"JOURNAL=" + a.journal}, workerBinary, append(args, "-b", a.broker, "--result-backend", cmp.Or(a.backend, a.broker))...)
	} else {
		p = start(t, node, appDir, a.env(t), a.python(), celeryCommand(a.venv, args)...)
	}
	p.waitLog(t, node+" ready.")
	return p
}

// startMingler starts a worker that finds so many others. It gives them a second to answer, as
// Celery does: on a machine that is too busy for that it has to be started again.
func (a app) startMingler(t *testing.T, node string, others int) (p *process) {
	t.Helper()
	eventually(t, patience, node+" mingles with all", func() bool {
		if p != nil {
			p.kill()
		}
		p = a.startNeighbor(t, node)
		return p.log.contains(fmt.Sprintf("mingle: sync with %d nodes", others))
	})
	return p
}

// celeryCommand is how a version of Celery wants its arguments.
func celeryCommand(venv string, args []string) []string {
	if venv == celery44 {
		return append([]string{"-m", "celery", args[0], "-A", "tapp"}, args[1:]...)
	}
	return append([]string{"-m", "celery", "-A", "tapp"}, args...)
}

// wantRevoked asks a node for the ids it discards.
func (a app) wantRevoked(t *testing.T, node string, want ...string) {
	t.Helper()
	var got []string
	a.run(t, &got, `import json, sys, tapp
print(json.dumps(list(tapp.app.control.inspect([sys.argv[1]], timeout=tapp.PATIENCE).revoked()[sys.argv[1]])))`, node)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: revoked are %q, want %q", node, got, want)
	}
}

func (a app) revokeAt(t *testing.T, node, id string) {
	t.Helper()
	a.run(t, nil, `import sys, tapp
tapp.app.control.revoke(sys.argv[2], destination=[sys.argv[1]], reply=True, timeout=tapp.PATIENCE)`, node, id)
}

// TestMingle: a worker that starts exchanges revoked ids and the clock with those that are
// there, whichever of them are Python's.
func TestMingle(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{venv: venv, broker: server.url(0), journal: server.url(1)}
			py := a.startNeighbor(t, "py@host")
			a.revokeAt(t, "py@host", "1")
			w := a.startMingler(t, "go@host", 1)
			w.waitLog(t, "mingle: sync complete")
			py.waitLog(t, "sync with go@host")
			a.wantRevoked(t, "go@host", "1")
			a.revokeAt(t, "go@host", "2")
			third := a.startMingler(t, "py2@host", 2)
			third.waitLog(t, "mingle: sync complete")
			w.waitLog(t, "sync with py2@host")
			a.wantRevoked(t, "py2@host", "1", "2")
		})
	}
}

// TestGossip: workers of both kinds know who lives, and elect one of them.
func TestGossip(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	py, w := a.startNeighbor(t, "py@host"), a.startNeighbor(t, "go@host")
	py.waitLog(t, "go@host joined the party")
	w.waitLog(t, "py@host joined the party")
	other := a.startNeighbor(t, "py2@host")
	w.waitLog(t, "py2@host joined the party")
	goOther := a.startNeighbor(t, "go2@host")
	for _, p := range []*process{py, w, other} {
		p.waitLog(t, "go2@host joined the party")
	}
	a.elect(t, server, py, w, other, goOther)
	for _, p := range []*process{other, goOther} {
		p.kill()
	}
	for _, p := range []*process{py, w} {
		p.waitLog(t, "missed heartbeat from py2@host")
		p.waitLog(t, "missed heartbeat from go2@host")
	}
	py.signal(t, syscall.SIGTERM)
	w.waitLog(t, "py@host left")
	left := a.startNeighbor(t, "py@host")
	left.waitLog(t, "go@host joined the party")
	w.signal(t, syscall.SIGTERM)
	left.waitLog(t, "go@host left")
	for _, p := range []*process{py, w} {
		if p.log.contains("Traceback") {
			t.Errorf("%s: %s", p.name, tail(p.log.String(), 3000))
		}
	}
}

// elect holds an election. It has more than one winner if an acknowledgement overtakes a
// candidate, in Celery as well; and with two workers alone, one of Python's may fail at it.
func (a app) elect(t *testing.T, server *redisServer, workers ...*process) {
	t.Helper()
	a.run(t, nil, `import tapp
tapp.app.control.election("vote", "task", tapp.work.s("elected", 0))`)
	won := 0
	eventually(t, patience, "all workers know the winner", func() bool {
		heard := 0
		won = 0
		for _, p := range workers {
			won += p.log.count("I won the election 'vote'")
			heard += p.log.count("elected for 'vote'")
		}
		return won > 0 && won+heard == len(workers)
	})
	eventually(t, patience, "the elected worker calls the task", func() bool { return server.journalLen(t, "done") == won })
}
