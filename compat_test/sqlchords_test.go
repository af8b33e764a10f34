package compat_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"

	_ "github.com/apium/apium/app/sql" // for the Go client
)

// TestChordsInSQL: chords that Python and Go have sent, whose members run in Celery's own worker and
// in ours, run their bodies, whoever comes last, and nothing is left in the table of counters.
func TestChordsInSQL(t *testing.T) {
	t.Parallel()
	for name := range sqlPlaces {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			results := newResultsDB(t, name)
			a := results.app(server)
			ours := startWorker(t, a, "-Q", "mixed")
			theirs := a.startWorker(t, "-Q", "celery")
			var got struct {
				Bodies [][]int
				Failed string
			}
			a.run(t, &got, `import json, tapp
from celery import chord
bodies = []
for n in range(9):
    header = [
        tapp.add.s(n, 1).set(queue="mixed"),
        tapp.same.s(n + 2).set(queue="mixed"),
        tapp.same.s(n + 3).set(queue="celery"),
    ]
    header = header[n % 3:] + header[:n % 3]
    bodies.append(chord(header)(tapp.same.s().set(queue="mixed" if n % 2 else "celery")))
failed = chord([tapp.same.s(1).set(queue="celery"), tapp.fail.s("no").set(queue="mixed")])(tapp.same.s().set(queue="mixed"))
print(json.dumps({
    "Bodies": [sorted(body.get(timeout=tapp.PATIENCE)) for body in bodies],
    "Failed": repr(failed.get(timeout=tapp.PATIENCE, propagate=False)),
}))`)
			for n, members := range got.Bodies {
				if diff := cmp.Diff([]int{n + 1, n + 2, n + 3}, members); diff != "" {
					t.Errorf("chord %d from Python (-want +got):\n%s", n, diff)
				}
			}
			if want := `ChordError("ValueError('no')")`; len(got.Bodies) != 9 || got.Failed != want {
				t.Errorf("%d chords, and the one that fails has %s, want %s", len(got.Bodies), got.Failed, want)
			}
			goChords(t, server, results)
			if ours.log.count("tapp.add[") == 0 || theirs.log.count("tapp.same[") == 0 {
				t.Error("not all members ran where they should")
			}
			results.noCounters(t)
		})
	}
}

// goChords sends chords with the Go client, and reads their results.
func goChords(t *testing.T, server *redisServer, results *resultsDB) {
	t.Helper()
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = server.url(0), results.ours
	c := openApp(t, conf)
	queue := func(name string, sig canvas.Signature) canvas.Signature { return sig.Set(canvas.Queue(name)) }
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for n := range 6 {
		theirs, ours := "celery", "mixed"
		if n%2 == 1 {
			theirs, ours = ours, theirs
		}
		flat := canvas.Chord([]canvas.Signature{
			queue(ours, canvas.Sig("tapp.same", n)), queue(theirs, canvas.Sig("tapp.same", n+1)), queue(theirs, canvas.Sig("tapp.add", n, 2)),
		}, queue(ours, canvas.Sig("tapp.same")))
		result, err := c.Send(ctx, flat)
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Get[[]int](ctx, result)
		if diff := cmp.Diff([]int{n, n + 1, n + 2}, got); err != nil || diff != "" {
			t.Errorf("chord %d from Go: %v (-want +got):\n%s", n, err, diff)
		}
	}
	// A chain that ends in a group counts as one member, and is two tasks: Celery's counter does
	// not know that, so its members run here.
	nested := canvas.Chord([]canvas.Signature{
		canvas.Chain(queue("mixed", canvas.Sig("tapp.same", 1)),
			canvas.Group(queue("mixed", canvas.Sig("tapp.add", 1)), queue("mixed", canvas.Sig("tapp.add", 2)))),
		queue("mixed", canvas.Sig("tapp.same", 4)),
	}, queue("mixed", canvas.Sig("tapp.same")))
	result, err := c.Send(ctx, nested)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Get[[]any](ctx, result)
	if diff := cmp.Diff([]any{[]any{int64(2), int64(3)}, int64(4)}, got); err != nil || diff != "" {
		t.Errorf("nested chord from Go: %v (-want +got):\n%s", err, diff)
	}
}
