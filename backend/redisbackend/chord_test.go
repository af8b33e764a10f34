package redisbackend_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/internal/redistest"
)

func TestUnorderedChords(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{ChordUnordered: true})
	setSize(t, b, 3)
	counts := count(t, b, backendtest.Part("g", 2), backendtest.Part("g", 0), backendtest.Part("g", 2), backendtest.Part("g", 1))
	if got := counts[3].State; got != backend.ChordComplete {
		t.Errorf("state %d", got)
	}
	if got, _ := redis.String(s.Do(t, "TYPE", "celery-taskset-meta-g.j"), nil); got != "list" {
		t.Errorf(".j is a %s", got)
	}
	if diff := cmp.Diff([]string{"task2", "task0", "task1"}, ids(t, b, "g")); diff != "" {
		t.Error(diff)
	}
}

// TestLargeChord has more results than go into one answer.
func TestLargeChord(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, unordered := range []bool{false, true} {
		s.Do(t, "FLUSHALL")
		b := open(t, s.URL(0), redisbackend.Config{ChordUnordered: unordered})
		const n = 150
		setSize(t, b, n)
		var want []string
		for i := range n {
			p := backendtest.Part("g", i)
			p.Result = []byte(`"` + strings.Repeat("x", 200_000) + `"`)
			want = append(want, p.TaskID)
			count(t, b, p)
		}
		if diff := cmp.Diff(want, ids(t, b, "g")); diff != "" {
			t.Error(diff)
		}
	}
}

func setSize(t *testing.T, b *redisbackend.Backend, size int) {
	t.Helper()
	if err := b.SetSize(t.Context(), "g", size); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, b *redisbackend.Backend, parts ...backend.ChordPart) []backend.ChordCount {
	t.Helper()
	counts, err := b.Count(t.Context(), parts...)
	if err != nil {
		t.Fatalf("Count: %v", err)
	}
	return counts
}

func ids(t *testing.T, b *redisbackend.Backend, groupID string) []string {
	t.Helper()
	results, err := b.Results(t.Context(), groupID)
	if err != nil {
		t.Fatalf("Results: %v", err)
	}
	var ids []string
	for _, r := range results {
		ids = append(ids, r.TaskID)
	}
	return ids
}

func TestChordKeysAndExpiry(t *testing.T) {
	t.Parallel()
	const slow = 20 // seconds that may pass until a key is looked at
	s := redistest.Start(t)
	conn := s.Dial(t, 0)
	for _, test := range []struct {
		name       string
		cfg        redisbackend.Config
		prefix     string
		ttl, group int // -1: for ever
	}{
		{"default", redisbackend.Config{}, "", 86400, 86400},
		{"prefix", redisbackend.Config{GlobalKeyprefix: "app"}, "app_", 86400, 86400},
		{"expires", redisbackend.Config{Expires: 90 * time.Second}, "", 90, 90},
		{"for ever", redisbackend.Config{Expires: -1}, "", -1, -1},
		{"shorter chords", redisbackend.Config{ChordExpires: time.Minute}, "", 60, 86400},
		{"longer chords", redisbackend.Config{ChordExpires: 48 * time.Hour}, "", 172800, 172800},
		{"chords for ever", redisbackend.Config{ChordExpires: -1}, "", -1, 86400},
		{"only chords expire", redisbackend.Config{Expires: -1, ChordExpires: time.Minute}, "", 60, -1},
	} {
		s.Do(t, "FLUSHALL")
		test.cfg.ChordLease = time.Minute
		b := open(t, s.URL(0), test.cfg)
		if err := b.SaveGroup(t.Context(), "g", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if err := b.Grow(t.Context(), "g", 1); err != nil {
			t.Fatal(err)
		}
		setSize(t, b, 0)
		claim := count(t, b, backendtest.Part("g", 0))[0].Claim
		name := test.prefix + "celery-taskset-meta-g"
		keys, _ := redis.Strings(conn.Do("KEYS", test.prefix+"celery*"))
		slices.Sort(keys)
		want := []string{name, name + ".a", name + ".d", name + ".j", name + ".s", name + ".t"}
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		for _, key := range keys {
			ttl := test.ttl
			switch key {
			case name:
				ttl = test.group
			case name + ".a":
				ttl = 60
			}
			if got, _ := redis.Int(conn.Do("TTL", key)); got > ttl || got < ttl-slow || ttl < 0 && got != ttl {
				t.Errorf("%s: TTL of %s is %d, want %d", test.name, key, got, ttl)
			}
		}
		if err := b.Finish(t.Context(), claim, false); err != nil {
			t.Fatal(err)
		}
		keys, _ = redis.Strings(conn.Do("KEYS", test.prefix+"celery*.*"))
		done, _ := redis.String(conn.Do("GET", name+".c"))
		if ttl, _ := redis.Int(conn.Do("TTL", name+".c")); len(keys) != 1 || done != "done" || ttl < 300-slow || ttl > 300 {
			t.Errorf("%s: after Finish: %q, .c %q with TTL %d", test.name, keys, done, ttl)
		}
	}
}

// TestChordWithoutSizeKey has nothing but the mark to turn late parts away.
func TestChordWithoutSizeKey(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{Expires: time.Minute})
	part := backendtest.Part("g", 0)
	part.Size = 1
	if err := b.Finish(t.Context(), count(t, b, part)[0].Claim, false); err != nil {
		t.Fatal(err)
	}
	if ttl, _ := redis.Int(s.Do(t, "TTL", "celery-taskset-meta-g.c"), nil); ttl < 86380 {
		t.Errorf("TTL %d, want a day", ttl)
	}
}

// TestOldWorkersParts counts where workers before Celery 5.7 have: they keep no set
// of the tasks counted.
func TestOldWorkersParts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		unordered bool
		theirs    []any // the command that they add one with; %s is the member
	}{
		{"zset", false, []any{"ZADD", "celery-taskset-meta-g.j", 0}},
		{"list", true, []any{"RPUSH", "celery-taskset-meta-g.j"}},
		{"zset where we make lists", true, []any{"ZADD", "celery-taskset-meta-g.j", 0}},
		{"list where we make zsets", false, []any{"RPUSH", "celery-taskset-meta-g.j"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			b := open(t, s.URL(0), redisbackend.Config{ChordUnordered: test.unordered})
			add := func(member string) {
				s.Do(t, test.theirs[0].(string), append(slices.Clone(test.theirs[1:]), member)...)
			}
			setSize(t, b, 3)
			add(`[1, "task0", "SUCCESS", "theirs"]`)
			// The same part, with another result.
			if c := count(t, b, backendtest.Part("g", 0))[0]; c.State != backend.ChordOpen || c.Count != 1 {
				t.Errorf("a part that was there: %+v", c)
			}
			count(t, b, backendtest.Part("g", 1))
			// They count again what is there.
			add(`[1, "task0", "SUCCESS", "again"]`)
			if c := count(t, b, backendtest.Part("g", 1))[0]; c.State != backend.ChordOpen || c.Count != 2 {
				t.Errorf("a part that they counted twice: %+v", c)
			}
			if c := count(t, b, backendtest.Part("g", 2))[0]; c.State != backend.ChordComplete || c.Count != 3 {
				t.Errorf("the last part: %+v", c)
			}
			if diff := cmp.Diff([]string{"task0", "task1", "task2"}, ids(t, b, "g")); diff != "" {
				t.Error(diff)
			}
			// They finish the chord, and somebody applies it again.
			s.Do(t, "DEL", "celery-taskset-meta-g.j", "celery-taskset-meta-g.t", "celery-taskset-meta-g.s")
			setSize(t, b, 1)
			if c := count(t, b, backendtest.Part("g", 0))[0]; c.State != backend.ChordComplete || c.Count != 1 {
				t.Errorf("in the next run: %+v", c)
			}
		})
	}
}

func TestCompressedMembers(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	member := compressed(t, backend.Record{Document: []byte(`[1, "task0", "SUCCESS", 7]`)})
	s.Do(t, "ZADD", "celery-taskset-meta-g.j", 0, member)
	s.Do(t, "SADD", "celery-taskset-meta-g.d", "task0:0")
	s.Do(t, "SET", "celery-taskset-meta-g", compressed(t, backend.Record{Document: []byte("{}")}))
	if got, err := b.Results(t.Context(), "g"); err != nil || got[0].TaskID != "task0" || string(got[0].Result) != "7" {
		t.Errorf("Results: %v, %v", got, err)
	}
	if got, err := b.LoadGroup(t.Context(), "g"); err != nil || string(got) != "{}" {
		t.Errorf("LoadGroup: %s, %v", got, err)
	}
	s.Do(t, "ZADD", "celery-taskset-meta-g.j", 1, "\x80pickle")
	if _, err := b.Results(t.Context(), "g"); !errors.Is(err, backend.ErrUnreadable) || !strings.Contains(err.Error(), "part 1 of chord g") {
		t.Errorf("Results with a pickle: %v", err)
	}
}

func TestRefusedParts(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	s.Do(t, "SET", "celery-taskset-meta-broken.j", "x")
	s.Do(t, "SET", "celery-taskset-meta-odd.s", "many")
	big := backendtest.Part("g", 0)
	big.Result = make([]byte, 512<<20+1)
	setSize(t, b, 1)
	counts, err := b.Count(t.Context(), backendtest.Part("broken", 5), big, backendtest.Part("odd", 1), backendtest.Part("g", 1))
	var one *backend.RecordError
	if !errors.As(err, &one) || one.TaskID != "task0" && one.TaskID != "task5" ||
		!strings.Contains(err.Error(), "task task5: WRONGTYPE") || !strings.Contains(err.Error(), "task task0: ") ||
		!strings.Contains(err.Error(), "512 MiB") {
		t.Errorf("Count: %v", err)
	}
	var states []string
	for _, c := range counts {
		states = append(states, fmt.Sprint(c.State, c.Count))
	}
	if diff := cmp.Diff([]string{"0 0", "0 0", "0 1", "1 1"}, states); diff != "" {
		t.Error(diff)
	}
}

// TestCountWithoutMemory must be repeated, not given up.
func TestCountWithoutMemory(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	setSize(t, b, 1)
	s.Do(t, "CONFIG", "SET", "maxmemory", "1")
	_, err := b.Count(t.Context(), backendtest.Part("g", 0))
	var one *backend.RecordError
	if err == nil || errors.As(err, &one) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("Count: %v", err)
	}
	s.Do(t, "CONFIG", "SET", "maxmemory", "0")
	if c := count(t, b, backendtest.Part("g", 0))[0]; c.State != backend.ChordComplete {
		t.Errorf("once there is memory: %+v", c)
	}
}

// TestClaimThatRanOut: whoever has claimed a chord, and was slow, has it still if nobody else has taken it, also where its size
// was in the message and not in Redis.
func TestClaimThatRanOut(t *testing.T) {
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{ChordLease: time.Hour})
	part := backendtest.Part("g", 0)
	part.Size = 1
	counted := count(t, b, part)[0]
	if counted.State != backend.ChordComplete || counted.Lease != time.Hour || counted.Again {
		t.Fatalf("the last part: %+v", counted)
	}
	s.Do(t, "DEL", "celery-taskset-meta-g.a") // as if its time had come
	if again := count(t, b, part)[0]; again.State != backend.ChordComplete || !again.Again {
		t.Errorf("the last part, once more: %+v", again)
	}
	s.Do(t, "DEL", "celery-taskset-meta-g.a")
	if err := b.Renew(t.Context(), counted.Claim, time.Minute); err != nil {
		t.Errorf("Renew: %v", err)
	}
	if err := b.Finish(t.Context(), counted.Claim, false); err != nil {
		t.Errorf("Finish: %v", err)
	}
	if err := b.Renew(t.Context(), counted.Claim, time.Minute); !errors.Is(err, backend.ErrClaimLost) {
		t.Errorf("Renew of a chord that is finished: %v", err)
	}
}

// TestLargeResultsAreNotCopied: a part's result is sent from where it is, and what is read is kept once.
func TestLargeResultsAreNotCopied(t *testing.T) { //nolint:paralleltest // it looks at what the process allocates
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	setSize(t, b, 2)
	p := backendtest.Part("g", 0)
	p.Result = []byte(`"` + strings.Repeat("x", 8<<20) + `"`)
	count(t, b, backendtest.Part("g", 1)) // Redis knows the script from then on
	allocated := func(do func()) int {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		return int(after.TotalAlloc - before.TotalAlloc)
	}
	if n := allocated(func() { count(t, b, p) }); n > len(p.Result)/10 {
		t.Errorf("%d bytes were allocated to count a part with a result of %d", n, len(p.Result))
	}
	var results []backend.ChordResult
	if n := allocated(func() { results, _ = b.Results(t.Context(), "g") }); n > len(p.Result)*11/10 {
		t.Errorf("%d bytes were allocated to read a result of %d", n, len(p.Result))
	}
	if len(results) != 2 || !bytes.Equal(results[0].Result, p.Result) {
		t.Errorf("%d results, or another one", len(results))
	}
}
