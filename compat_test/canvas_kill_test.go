package compat_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

// TestChordsSurviveKills kills our workers while chords run whose tasks are acknowledged
// late, and whose results are in SQL; for Redis see TestTorture. Every body runs, with all results of its header, and is published once: only what
// a dead worker held runs again, and that is marked as redelivered.
func TestChordsSurviveKills(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"django-db in PostgreSQL", "django-db in MariaDB", "database in PostgreSQL"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			results := newResultsDB(t, name)
			chordsSurvive(t, server, results.app(server), 40, killWorkers)
			results.noCounters(t)
		})
	}
}

// TestChordsSurviveADatabaseThatIsAway stops the database that results are in while chords run, and
// starts it again.
func TestChordsSurviveADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	for name, django := range map[string]bool{"django-db": true, "database": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			database := sqltest.Start(t, sqltest.PostgreSQL)
			results := resultsDBIn(t, database.Database(t), django)
			chordsSurvive(t, server, results.app(server), 20, func(t *testing.T, a app, all int, done func() int) {
				w := startWorker(t, a, "-c", "4")
				tells := func() int { return w.log.count("Trying again until it works") }
				for range 3 {
					before, told := done(), tells()
					eventually(t, patience, "work goes on", func() bool { return done() > before+20 || done() >= all })
					database.Stop()
					eventually(t, patience, "the worker says that the database is away", func() bool { return tells() > told || done() >= all })
					database.Restart(t)
				}
				if tells() == 0 {
					t.Error("the worker has not said that the database is away")
				}
			})
			results.noCounters(t)
		})
	}
}

// chordsSurvive sends chords, has something happen to who runs them, and looks that every body has
// run, with all results of its header, and was published once.
func chordsSurvive(t *testing.T, server *redisServer, a app, chords int, disturb func(t *testing.T, a app, all int, done func() int)) {
	t.Helper()
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = server.url(0), cmp.Or(a.ours, a.backend, a.broker)
	c := openApp(t, conf)
	const members = 20
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
	disturb(t, a, chords*members, func() int { return len(runs()) })
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

// journalCounts reads a hash of the journal.
func journalCounts(t *testing.T, server *redisServer, hash string) map[string]int {
	t.Helper()
	counts, err := redis.IntMap(server.tryJournal("HGETALL", hash))
	if err != nil {
		t.Fatal(err)
	}
	return counts
}
