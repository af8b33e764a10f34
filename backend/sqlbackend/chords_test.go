package sqlbackend_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/sqlbackend"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/protocol"
)

// chordBench is django-celery-results' tables in one database.
type chordBench struct {
	*sqlbackend.Backend
	t   *testing.T
	db  *sql.DB
	cfg sqlbackend.Config
}

// inEvery runs a test with Django's tables in each database.
func inEvery(t *testing.T, test func(t *testing.T, b *chordBench)) {
	t.Helper()
	t.Parallel()
	for _, dialect := range []string{sqltest.SQLite, sqltest.PostgreSQL, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			db, cfg := database(t, dialect, sqlbackend.Django)
			test(t, &chordBench{Backend: open(t, cfg), t: t, db: db.Open(t), cfg: cfg})
		})
	}
}

// list lists a chord of tasks g0, g1, ….
func (b *chordBench) list(group string, size int) {
	b.t.Helper()
	var members []string
	for i := range size {
		members = append(members, fmt.Sprintf(`[["%s%d", null], null]`, group, i))
	}
	if err := b.ListChord(b.t.Context(), group, size, []byte("["+strings.Join(members, ", ")+"]")); err != nil {
		b.t.Fatal(err)
	}
}

// part is a part whose record is stored when it is counted.
func part(group string, index int, state string) backend.ChordPart {
	id := fmt.Sprint(group, index)
	record := backendtest.Record(state, id, fmt.Sprint(index))
	return backend.ChordPart{GroupID: group, TaskID: id, State: protocol.State(state), Result: fmt.Append(nil, index), Record: &record}
}

func (b *chordBench) count(want []backend.ChordState, parts ...backend.ChordPart) []backend.ChordCount {
	b.t.Helper()
	counts, err := b.Count(b.t.Context(), parts...)
	if err != nil {
		b.t.Fatal(err)
	}
	for i, c := range counts {
		if c.State != want[i] {
			b.t.Fatalf("part %d: %+v, want state %v", i, c, want[i])
		}
	}
	return counts
}

// left is what the counter says; -1: there is none.
func (b *chordBench) left(group string) int {
	b.t.Helper()
	n := -1
	row := b.db.QueryRow("SELECT count FROM django_celery_results_chordcounter WHERE group_id = '" + group + "'")
	if err := row.Scan(&n); err != nil && !errors.Is(err, sql.ErrNoRows) {
		b.t.Fatal(err)
	}
	return n
}

func (b *chordBench) exec(statement string) {
	b.t.Helper()
	if _, err := b.db.Exec(statement); err != nil {
		b.t.Fatalf("%s: %v", statement, err)
	}
}

func (b *chordBench) state(id string) protocol.State {
	b.t.Helper()
	record, err := b.Load(b.t.Context(), id)
	if errors.Is(err, backend.ErrNotFound) {
		return ""
	}
	state, stateErr := backend.State(record)
	if err := errors.Join(err, stateErr); err != nil {
		b.t.Fatal(err)
	}
	return state
}

const (
	isOpen     = backend.ChordOpen
	isComplete = backend.ChordComplete
	isClaimed  = backend.ChordClaimed
	isDone     = backend.ChordDone
)

type states []backend.ChordState

// Parts are counted along with their records, each once, whatever its state and however often it
// comes; the row is there until the body is published.
func TestChordParts(t *testing.T) {
	inEvery(t, func(t *testing.T, b *chordBench) {
		b.list("g", 4)
		b.list("g", 9) // the same message once more
		b.count(states{isOpen, isOpen}, part("g", 0, "SUCCESS"), part("g", 1, "FAILURE"))
		if n, state := b.left("g"), b.state("g1"); n != 2 || state != "FAILURE" {
			t.Fatalf("%d are left and g1 is %q", n, state)
		}
		b.count(states{isOpen, isOpen}, part("g", 0, "SUCCESS"), part("g", 1, "FAILURE"))
		b.count(states{isOpen}, part("g", 1, "SUCCESS"))
		if n := b.left("g"); n != 2 {
			t.Fatalf("parts counted twice: %d are left", n)
		}
		counts := b.count(states{isOpen, isComplete}, part("g", 2, "REVOKED"), part("g", 3, "SUCCESS"))
		if members := string(counts[1].Members); !strings.HasPrefix(members, `[[["g0"`) {
			t.Errorf("members %s", members)
		}
		if n := b.left("g"); n != 0 {
			t.Errorf("claimed: the counter says %d", n)
		}
		if err := b.Finish(t.Context(), counts[1].Claim, false); err != nil {
			t.Fatal(err)
		}
		if n := b.left("g"); n != -1 {
			t.Errorf("finished: the counter says %d", n)
		}
		b.count(states{isDone, isDone}, part("g", 0, "SUCCESS"), part("other", 0, "SUCCESS"))
		if err := b.Finish(t.Context(), counts[1].Claim, false); !errors.Is(err, backend.ErrClaimLost) {
			t.Errorf("the second Finish: %v", err)
		}
		if state := b.state("other0"); state != "SUCCESS" {
			t.Errorf("the record of a part nobody counts: %q", state)
		}
	})
}

// A result that is ignored is kept for the body.
func TestChordPartThatIsIgnored(t *testing.T) {
	inEvery(t, func(t *testing.T, b *chordBench) {
		b.list("g", 1)
		ignored := part("g", 0, "SUCCESS")
		ignored.Record = nil
		b.count(states{isComplete}, ignored)
		record, err := b.Load(t.Context(), "g0")
		if err != nil {
			t.Fatal(err)
		}
		if result, err := protocol.DecodeResult(record); err != nil || string(result.Result) != "0" {
			t.Errorf("the record is %s, %v", record, err)
		}
	})
}

// Python stores and counts in two steps: who dies in between leaves a part uncounted, and a part
// that runs twice is counted twice. Neither makes a chord hang whose last part is counted here.
func TestChordWhosePartsPythonHasMiscounted(t *testing.T) {
	inEvery(t, func(t *testing.T, b *chordBench) {
		b.list("missed", 3)
		if err := b.Store(t.Context(), backendtest.Record("SUCCESS", "missed0", "0")); err != nil {
			t.Fatal(err)
		}
		b.count(states{isOpen}, part("missed", 0, "SUCCESS"))
		if n := b.left("missed"); n != 2 {
			t.Errorf("%d are left after one that Python has not counted", n)
		}
		b.count(states{isOpen, isComplete}, part("missed", 1, "SUCCESS"), part("missed", 2, "SUCCESS"))

		b.list("twice", 3)
		b.count(states{isOpen}, part("twice", 0, "SUCCESS"))
		b.exec("UPDATE django_celery_results_chordcounter SET count = count - 1 WHERE group_id = 'twice'")
		b.count(states{isOpen}, part("twice", 1, "SUCCESS"))
		if n := b.left("twice"); n != 1 {
			t.Errorf("%d are left after one that Python has counted twice", n)
		}
		b.count(states{isComplete}, part("twice", 2, "SUCCESS"))
	})
}

// Who is to run the body may die: then somebody else is, and only one at a time.
func TestChordTakenOver(t *testing.T) {
	inEvery(t, func(t *testing.T, b *chordBench) {
		b.list("g", 1)
		first := b.count(states{isComplete}, part("g", 0, "SUCCESS"))[0]
		dead := first.Claim
		counts := b.count(states{isClaimed}, part("g", 0, "SUCCESS"))
		if lease := counts[0].Lease; lease <= 0 || lease > 10*time.Second {
			t.Errorf("lease %v", lease)
		}
		if err := b.Renew(t.Context(), dead, time.Millisecond); err != nil {
			t.Fatal(err)
		}
		var heir backend.ChordClaim
		for heir.Token == "" {
			counts, err := b.Count(t.Context(), part("g", 0, "SUCCESS"))
			if err != nil {
				t.Fatal(err)
			}
			if heir = counts[0].Claim; heir.Token != "" && (first.Again || !counts[0].Again) {
				t.Errorf("counted before: %t, then %t", first.Again, counts[0].Again)
			}
		}
		for name, err := range map[string]error{"Renew": b.Renew(t.Context(), dead, time.Second), "Finish": b.Finish(t.Context(), dead, false)} {
			if !errors.Is(err, backend.ErrClaimLost) {
				t.Errorf("%s of the one who lost the claim: %v", name, err)
			}
		}
		if err := b.Finish(t.Context(), heir, true); err != nil {
			t.Error(err)
		}
	})
}

// Many workers count parts of many chords, in groups that go crosswise, some of them twice: there is
// one who completes each chord, and deadlocks cost nobody anything.
func TestChordsAtOnce(t *testing.T) {
	inEvery(t, func(t *testing.T, b *chordBench) {
		const workers, chords, size, lease = 6, 5, 12, 10 * time.Second
		for g := range chords {
			b.list(fmt.Sprint("chord", g, "-"), size)
		}
		var mu sync.Mutex
		type span struct{ asked, answered time.Time }
		completed := map[string][]span{}
		var wg sync.WaitGroup
		for n := range workers {
			other := open(t, b.cfg)
			wg.Go(func() {
				for i := range size {
					var parts []backend.ChordPart
					for g := range chords {
						g, index := (g+n)%chords, (i+n*size/workers)%size
						parts = append(parts, part(fmt.Sprint("chord", g, "-"), index, "SUCCESS"))
					}
					asked := time.Now()
					counts, err := other.Count(context.Background(), parts...)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, c := range counts {
						if id := c.Claim.GroupID; c.State == isComplete {
							completed[id] = append(completed[id], span{asked, time.Now()})
						}
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for g := range chords {
			id := fmt.Sprint("chord", g, "-")
			if len(completed[id]) == 0 {
				t.Errorf("%s was never completed", id)
			}
			for i, c := range completed[id] {
				for _, other := range completed[id][i+1:] {
					if max(other.answered.Sub(c.asked), c.answered.Sub(other.asked)) < lease {
						t.Errorf("%s was completed twice", id)
					}
				}
			}
		}
	})
}

// One record that does not fit keeps no other part from being counted.
func TestChordPartThatDoesNotFit(t *testing.T) {
	inEvery(t, func(t *testing.T, b *chordBench) {
		b.list("g", 2)
		bad := part("g", 0, strings.Repeat("X", 51)) // a varchar(50)
		if strings.Contains(string(b.cfg.DjangoDatabase), "sqlite") {
			bad = part("g", 0, "SUCCESS")
			bad.Record.Document = []byte("{")
		}
		counts, err := b.Count(t.Context(), bad, part("g", 1, "SUCCESS"))
		var refused *backend.RecordError
		if !errors.As(err, &refused) || refused.TaskID != "g0" || len(counts) != 2 {
			t.Fatalf("%v, %v", counts, err)
		}
		if n := b.left("g"); n != 1 {
			t.Errorf("%d are left", n)
		}
	})
}

// TestPolledChords: SQLAlchemy's tables have no counters, and celery.chord_unlock looks.
func TestPolledChords(t *testing.T) {
	t.Parallel()
	db := sqltest.New(t, sqltest.SQLite)
	able := backend.AbilitiesOf(open(t, sqlbackend.Config{Layout: sqlbackend.SQLAlchemy, URL: db.URL()}))
	if !able.PollsChords || able.Chords != nil || able.ChordLists != nil || able.Loader == nil {
		t.Errorf("%+v", able)
	}
}
