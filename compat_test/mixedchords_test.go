package compat_test

import (
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
