package compat_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol/canvas"
)

// TestChordsSurviveKills kills our workers while chords run whose tasks are acknowledged
// late. Every body runs, with all results of its header, and is published once: only what
// a dead worker held runs again, and that is marked as redelivered.
func TestChordsSurviveKills(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	c := newClient(t, server)
	const chords, members = 80, 20
	sigs := make([]canvas.Signature, chords)
	for i := range sigs {
		header := make([]canvas.Signature, members)
		for k := range header {
			header[k] = canvas.Sig("canvas.late").Kw(map[string]any{"tag": fmt.Sprintf("go|%d|%d", i, k)})
		}
		sigs[i] = canvas.Chord(header, canvas.Sig("canvas.body").Kw(map[string]any{"tag": fmt.Sprintf("go|%d|body", i)}))
	}
	results, err := c.SendAll(t.Context(), sigs...)
	if err != nil {
		t.Fatal(err)
	}
	runs := func() map[string]int { return journalCounts(t, server, "runs") }
	killWorkers(t, a, chords*members, func() int { return len(runs()) })
	want := make([]string, members)
	for k := range want {
		want[k] = strconv.Itoa(k)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for i, result := range results {
		got, err := client.Get[[]string](ctx, result)
		if err != nil {
			t.Fatalf("chord %d: %v", i, err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the body of chord %d got %v", i, got)
		}
	}
	eventually(t, patience, "all messages are settled", func() bool { return server.idle(t, "celery") })
	again := journalCounts(t, server, "redelivered")
	for i := range chords {
		tag := fmt.Sprintf("go|%d|body", i)
		if n := runs()[tag]; n > 1 || n+again[tag] == 0 {
			t.Errorf("the body of chord %d ran %d times, and %d times redelivered", i, n, again[tag])
		}
	}
	t.Logf("%d bodies ran again", len(again))
}

// killWorkers kills workers again and again until most of what is to be done is.
func killWorkers(t *testing.T, a app, all int, done func() int) {
	t.Helper()
	const kills = 8
	var workers [2]*process
	for i := range workers {
		workers[i] = startWorker(t, a, "-c", "4", "-n", fmt.Sprintf("w%d@host", i))
	}
	for i := range kills {
		before := done()
		eventually(t, patience, "work goes on", func() bool {
			n := done()
			return n > before+rand.IntN(60) || n >= all
		})
		workers[i%2].kill()
		workers[i%2] = startWorker(t, a, "-c", "4", "-n", fmt.Sprintf("k%d@host", i))
	}
}

// TestChainsSurviveKills kills our workers while chains run whose steps are acknowledged late.
// Every step is published once: only what a dead worker held runs again.
func TestChainsSurviveKills(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	c := newClient(t, server)
	const chains, steps = 400, 8
	tag := func(i, k int) string { return fmt.Sprintf("go|%d|%d", i, k) }
	sigs := make([]canvas.Signature, chains)
	for i := range sigs {
		chain := make([]canvas.Signature, steps)
		for k := range chain {
			chain[k] = canvas.Sig("canvas.body", [][]string{{tag(i, k)}}).Kw(map[string]any{"tag": tag(i, k)}).Immutable()
		}
		sigs[i] = canvas.Chain(chain...)
	}
	results, err := c.SendAll(t.Context(), sigs...)
	if err != nil {
		t.Fatal(err)
	}
	killWorkers(t, a, chains*steps, func() int {
		done := journalCounts(t, server, "redelivered")
		maps.Copy(done, journalCounts(t, server, "runs"))
		return len(done)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for i, result := range results {
		if _, err := client.Get[[]string](ctx, result); err != nil {
			t.Fatalf("chain %d: %v", i, err)
		}
	}
	eventually(t, time.Minute, "all messages are settled", func() bool { return server.idle(t, "celery") })
	once, again := journalCounts(t, server, "runs"), journalCounts(t, server, "redelivered")
	stored := len(server.strings(t, "KEYS", "celery-task-meta-*"))
	if stored != chains*steps {
		t.Errorf("%d results are stored of %d", stored, chains*steps)
	}
	for i := range chains {
		for k := range steps {
			if n := once[tag(i, k)]; n > 1 || n+again[tag(i, k)] == 0 {
				t.Errorf("step %d of chain %d ran %d times, and %d times redelivered", k, i, n, again[tag(i, k)])
			}
		}
	}
	t.Logf("%d steps ran again", len(again))
}

// journalCounts reads a hash of the journal.
func journalCounts(t *testing.T, server *redisServer, hash string) map[string]int {
	t.Helper()
	counts, err := redis.IntMap(server.tryJournal("HGETALL", hash))
	if err != nil {
		t.Fatal(err)
	}
	return counts
}
