package compat_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestChordsOfGoAndPython: members that run in Go, in a child process of the same worker, and in
// Celery's own worker complete one another's chords, whoever comes last. Celery 4.4 counts them
// in a list, 5.2 and 5.7 in a sorted set, as the app's settings say without a word.
func TestChordsOfGoAndPython(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			mixedChords(t, app{venv: venv, broker: server.url(1), backend: server.url(2), journal: server.url(3)})
		})
	}
}

// TestChordsOfGoAndPythonInSQL: so they do in databases, which children count in by Celery's own code.
func TestChordsOfGoAndPythonInSQL(t *testing.T) {
	t.Parallel()
	for name := range sqlPlaces {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			results := newResultsDB(t, name)
			mixedChords(t, results.app(startRedis(t)))
			results.noCounters(t)
		})
	}
}

// mixedChords sends an app's chords to our worker with the app and to Celery's.
func mixedChords(t *testing.T, a app) {
	t.Helper()
	ours := start(t, "apium worker", appDir, a.env(t), workerBinary, "-A", "tapp", "--python", a.python(), "worker", "-c", "2", "-l", "info", "-Q", "mixed")
	a.startWorker(t)
	ours.waitLog(t, " ready.")
	var got [][]int
	a.run(t, &got, `import json, tapp
from celery import chord
bodies = []
for n in range(12):
    header = [
        tapp.add.s(n, 1).set(queue="mixed"),
        tapp.python_only.s(n + 2).set(queue="mixed"),
        tapp.same.s(n + 3).set(queue="celery"),
    ]
    header = header[n % 3:] + header[:n % 3]
    bodies.append(chord(header)(tapp.same.s().set(queue="mixed" if n % 2 else "celery")))
print(json.dumps([sorted(body.get(timeout=tapp.PATIENCE)) for body in bodies]))`)
	for n, members := range got {
		if diff := cmp.Diff([]int{n + 1, n + 2, n + 3}, members); diff != "" {
			t.Errorf("chord %d (-want +got):\n%s", n, diff)
		}
	}
	if len(got) != 12 {
		t.Errorf("%d chords", len(got))
	}
	if ours.log.count("tapp.python_only[") < 12 || ours.log.count("tapp.add[") < 12 {
		t.Error("not all members ran where they should")
	}
}

// TestChordsOfThreeKindsOnRabbitMQ: a worker of Celery's, ours with the app in children and ours in Go serve one queue, and each chord
// has parts with any of them. The body is published once, by whoever counts the last part, and has all results. Results in rpc:// have no
// chords: Celery refuses to send them.
func TestChordsOfThreeKindsOnRabbitMQ(t *testing.T) {
	t.Parallel()
	for _, results := range []string{"Redis", "django-db in PostgreSQL", "database in PostgreSQL"} {
		t.Run(results, func(t *testing.T) {
			t.Parallel()
			server := startRabbit(t)
			a := server.app()
			if results != "Redis" {
				sql := newResultsDB(t, results).app(server)
				a.backend, a.ours, a.variables = sql.backend, sql.ours, sql.variables
			}
			a.module = "tapp"
			command := a.apiumCommand(nil, []string{"-c", "1", "-l", "info", "-n", "children@host"})
			children := start(t, "apium worker", appDir, a.env(t), command[0], command[1:]...)
			inGo := startWorker(t, a, "-c", "1", "-n", "go@host")
			celery := a.startWorker(t, "-c", "1", "-n", "celery@host", "--prefetch-multiplier", "1")
			children.waitLog(t, " ready.")
			const chords, parts = 12, 6
			var bodies []string
			a.run(t, &bodies, `import json, sys, tapp
from celery import chord
chords, parts = map(int, sys.argv[1:])
print(json.dumps([
    chord(tapp.work.s("%d.%d" % (n, i), 0.03) for i in range(parts))(tapp.same.s() if n % 2 else tapp.work.si("%d.body" % n, 0)).id
    for n in range(chords)
]))`, strconv.Itoa(chords), strconv.Itoa(parts))
			var got []any
			a.run(t, &got, `import json, sys, tapp
print(json.dumps([tapp.app.AsyncResult(i).get(timeout=tapp.PATIENCE) for i in json.loads(sys.argv[1])]))`, `["`+strings.Join(bodies, `", "`)+`"]`)
			var want []any
			for n := range chords {
				if n%2 == 0 {
					want = append(want, strconv.Itoa(n)+".body")
					continue
				}
				var keys []any
				for i := range parts {
					keys = append(keys, strconv.Itoa(n)+"."+strconv.Itoa(i))
				}
				want = append(want, keys)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			runs := map[string]int{}
			for _, key := range server.journalKeys(t, "started") {
				runs[key]++
			}
			for key, n := range runs {
				if n > 1 {
					t.Errorf("%s ran %d times", key, n)
				}
			}
			for name, w := range map[string]*process{"Go": inGo, "children": children, "Celery": celery} {
				t.Logf("%s ran %d", name, w.log.count(" succeeded in "))
			}
		})
	}
}

// TestBodyOfAKilledWorkerOnRabbitMQ kills ours when it has counted the last part of a chord, and before RabbitMQ has the body. Celery's worker is given
// the part while the claim on the body lasts, and publishes it.
func TestBodyOfAKilledWorkerOnRabbitMQ(t *testing.T) {
	t.Parallel()
	server := startRabbit(t)
	a := server.app()
	n := newNetwork(t, server.vhost.Server().Addr())
	behind := a
	behind.broker = server.vhost.URLAt(n.addr())
	ours := startWorker(t, behind, "-c", "2")
	a.run(t, nil, `import tapp
from celery import chord
chord([tapp.work.si("first", 0), tapp.wait_late.si("last")])(tapp.work.si("body", 0))`)
	keys := func(suffix string) []string { return server.strings(t, "KEYS", "celery-taskset-meta-*"+suffix) }
	eventually(t, patience, "the first part is counted, and the last one runs", func() bool {
		return len(keys(".d")) == 1 && server.journalLen(t, "started") == 2
	})
	release := func() {
		t.Helper()
		if _, err := server.tryJournal("RPUSH", "go", 1); err != nil {
			t.Fatal(err)
		}
	}
	n.set(func(n *network) { n.hole = true })
	release()
	eventually(t, patience, "the last part is counted", func() bool { return len(keys(".a")) == 1 })
	server.do(t, "PEXPIRE", keys(".a")[0], 600_000)
	a.startWorker(t, "-n", "celery@host")
	ours.kill()
	n.cut()
	release()
	eventually(t, patience, "the body is done", func() bool { return slices.Contains(server.journalKeys(t, "done"), "body") })
	eventually(t, patience, "the chord has ended", func() bool { // Celery publishes before that
		claims := keys(".c")
		return len(claims) == 1 && server.strings(t, "MGET", claims[0])[0] == "done"
	})
	eventually(t, patience, "nothing waits", func() bool { return server.idle(t, "celery") })
	if diff := cmp.Diff([]string{"first", "last", "last", "body"}, server.journalKeys(t, "done")); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
}
