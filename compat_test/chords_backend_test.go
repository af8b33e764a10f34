package compat_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
)

// chordPart is a part as both sides are told of it.
type chordPart struct {
	index  *int
	id     string
	state  protocol.State
	result any    // as Python is given it; of a failure: the arguments of a ValueError
	json   string // as Celery encodes it
}

func (p chordPart) count(t *testing.T, b *redisbackend.Backend) backend.ChordCount {
	t.Helper()
	counts, err := b.Count(t.Context(), backend.ChordPart{
		GroupID: "g", Index: p.index, TaskID: p.id, State: p.state, Result: []byte(p.json),
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts[0]
}

func (p chordPart) countInPython(t *testing.T, peer *pythonBackend) {
	t.Helper()
	peer.call(t, nil, "part", "g", p.index, p.id, p.state, p.result)
}

// chordParts are in the order of their scores.
func chordParts() []chordPart {
	index := func(i int) *int { return &i }
	return []chordPart{
		{index(0), "11111111-0000-0000-0000-000000000000", "SUCCESS", 3, `3`},
		{index(1), "22222222", "SUCCESS", "é\u2028\"x", `"\u00e9\u2028\"x"`},
		{index(2), "33333333", "SUCCESS", map[string]any{"a": []any{1, 2.5, nil}}, `{"a": [1, 2.5, null]}`},
		{index(10), "44444444", "SUCCESS", nil, `null`},
		{nil, "55555555", "SUCCESS", true, `true`},
	}
}

const chordKey = "celery-taskset-meta-g"

// chordKeys reads everything a chord has in a database, expiry included.
func chordKeys(t *testing.T, conn redis.Conn) map[string]string {
	t.Helper()
	found := map[string]string{}
	keys, err := redis.Strings(conn.Do("KEYS", chordKey+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		kind, _ := redis.String(conn.Do("TYPE", key))
		var value any
		switch kind {
		case "zset":
			value, err = redis.Strings(conn.Do("ZRANGE", key, 0, -1, "WITHSCORES"))
		case "list":
			value, err = redis.Strings(conn.Do("LRANGE", key, 0, -1))
		case "set":
			var members []string
			members, err = redis.Strings(conn.Do("SMEMBERS", key))
			slices.Sort(members)
			value = members
		default:
			value, err = redis.String(conn.Do("GET", key))
		}
		ttl, ttlErr := redis.Int(conn.Do("TTL", key))
		if err := errors.Join(err, ttlErr); err != nil {
			t.Fatal(err)
		}
		found[strings.TrimPrefix(key, chordKey)] = fmt.Sprintf("%s %v for %d s", kind, value, (ttl+90)/100*100) // of 300 or 86400: up to 90 may have passed
	}
	return found
}

// chordBodies returns the arguments of the bodies that Python has published.
func chordBodies(t *testing.T, s *redisServer, db int) []string {
	t.Helper()
	conn := dialDB(t, s, db)
	messages, err := redis.ByteSlices(conn.Do("LRANGE", "bodies", 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for _, raw := range messages {
		task, err := envelopetest.DecodeTask(raw, mustAccept(t))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(task.Args))
	}
	return bodies
}

func mustAccept(t *testing.T) protocol.Accept {
	t.Helper()
	accept, err := protocol.NewAccept("json")
	if err != nil {
		t.Fatal(err)
	}
	return accept
}

func dialDB(t *testing.T, s *redisServer, db int) redis.Conn {
	t.Helper()
	conn, err := redis.Dial("tcp", s.addr(), redis.DialDatabase(db))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// chordTest has Celery count a chord in database 1, and Celery and us in turns the
// same one in database 2.
type chordTest struct {
	server       *redisServer
	alone, mixed *pythonBackend
	ours         *redisbackend.Backend
	keys         [2]redis.Conn
	venv         string
}

func newChordTest(t *testing.T, venv string, ordered bool) *chordTest {
	t.Helper()
	s := startRedis(t)
	peer := func(db int) *pythonBackend {
		return startPythonBackend(t, app{
			venv: venv, broker: s.url(db),
			settings: map[string]any{"result_backend_transport_options": map[string]any{"result_chord_ordered": ordered}},
		})
	}
	return &chordTest{
		server: s, alone: peer(1), mixed: peer(2), venv: venv,
		ours: openBackend(t, s.url(2), redisbackend.Config{ChordUnordered: !ordered, ChordLease: time.Minute}),
		keys: [2]redis.Conn{dialDB(t, s, 1), dialDB(t, s, 2)},
	}
}

// same compares the keys of both chords, except for some.
func (c *chordTest) same(t *testing.T, when string, except ...string) {
	t.Helper()
	if c.venv == celery52 {
		except = append(except, ".d", ".c") // what 5.2 does not know yet
	}
	alone, mixed := chordKeys(t, c.keys[0]), chordKeys(t, c.keys[1])
	for _, key := range except {
		delete(alone, key)
		delete(mixed, key)
	}
	if diff := cmp.Diff(alone, mixed); diff != "" {
		t.Errorf("%s: keys of Celery alone (-) and with us (+)\n%s", when, diff)
	}
}

func (c *chordTest) begin(t *testing.T, parts int) {
	t.Helper()
	c.alone.call(t, nil, "size", "g", parts-1)
	c.alone.call(t, nil, "grow", "g")
	if err := c.ours.SetSize(t.Context(), "g", parts-1); err != nil {
		t.Fatal(err)
	}
	if err := c.ours.Grow(t.Context(), "g", 1); err != nil {
		t.Fatal(err)
	}
}

// forEachChordTest runs a test with each Celery that counts by .s, and both orders.
func forEachChordTest(t *testing.T, run func(*testing.T, *chordTest, bool)) {
	t.Helper()
	for _, version := range []string{"5.7", "5.2"} {
		for _, ordered := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/ordered=%t", version, ordered), func(t *testing.T) {
				t.Parallel()
				run(t, newChordTest(t, peers[version], ordered), ordered)
			})
		}
	}
}

func TestChordCountedInTurns(t *testing.T) {
	t.Parallel()
	forEachChordTest(t, func(t *testing.T, c *chordTest, ordered bool) {
		parts := chordParts()
		sorted := "[[3, \"\\u00e9\\u2028\\\"x\", {\"a\": [1, 2.5, null]}, null, true]]"
		if !ordered {
			slices.Reverse(parts)
			sorted = "[[true, null, {\"a\": [1, 2.5, null]}, \"\\u00e9\\u2028\\\"x\", 3]]"
		}
		last := parts[len(parts)-1]
		for _, weFinish := range []bool{true, false} {
			c.begin(t, len(parts))
			c.same(t, "at the beginning")
			for i, p := range parts[:len(parts)-1] {
				p.countInPython(t, c.alone)
				if i%2 == 0 {
					p.count(t, c.ours)
				} else {
					p.countInPython(t, c.mixed)
				}
				c.duplicate(t, p, i%2 == 0, ordered)
				c.same(t, "after part "+p.id)
			}
			last.countInPython(t, c.alone)
			if weFinish {
				c.finish(t, last, len(parts))
			} else {
				last.countInPython(t, c.mixed)
				if got := last.count(t, c.ours); c.venv == celery57 && got.State != backend.ChordDone {
					t.Errorf("a part of a chord that Python has finished: %+v", got)
				}
			}
			want := []string{sorted}
			if got := chordBodies(t, c.server, 1); !slices.Equal(got, want) {
				t.Errorf("Celery alone published %q\nwant %q", got, want)
			}
			if weFinish {
				want = nil
			}
			if got := chordBodies(t, c.server, 2); !slices.Equal(got, want) {
				t.Errorf("Celery beside us published %q\nwant %q", got, want)
			}
			if weFinish {
				c.same(t, "at the end")
			}
			for _, conn := range c.keys {
				if _, err := conn.Do("FLUSHDB"); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// duplicate delivers a part again that one side has counted. Workers before 5.7 count
// it twice unless it is in a sorted set and has the same result.
func (c *chordTest) duplicate(t *testing.T, p chordPart, byUs, ordered bool) {
	t.Helper()
	if byUs && (c.venv == celery57 || ordered) {
		p.countInPython(t, c.mixed)
	}
	again := p
	again.json = `"another result"`
	before := len(chordKeys(t, c.keys[1]))
	if got := again.count(t, c.ours); got.State != backend.ChordOpen || len(chordKeys(t, c.keys[1])) < before {
		t.Errorf("part %s again: %+v", p.id, got)
	}
	if c.venv == celery57 {
		again.result = "another result"
		again.countInPython(t, c.mixed)
	}
}

// finish has us count the last part, again and again.
func (c *chordTest) finish(t *testing.T, last chordPart, parts int) {
	t.Helper()
	got := last.count(t, c.ours)
	if got.State != backend.ChordComplete || got.Count != parts || got.Total != parts {
		t.Fatalf("the last part: %+v", got)
	}
	if again := last.count(t, c.ours); again.State != backend.ChordClaimed {
		t.Errorf("the last part again: %+v", again)
	}
	results, err := c.ours.Results(t.Context(), "g")
	if err != nil || len(results) != parts {
		t.Fatalf("Results: %v, %v", results, err)
	}
	for i, p := range slices.SortedFunc(slices.Values(chordParts()), func(x, y chordPart) int { return strings.Compare(x.id, y.id) }) {
		j := i
		if kind, _ := redis.String(c.keys[1].Do("TYPE", chordKey+".j")); kind == "list" {
			j = parts - 1 - i
		}
		if r := results[j]; r.TaskID != p.id || r.State != p.state || string(r.Result) != p.json {
			t.Errorf("result %d: %+v, want %+v", j, r, p)
		}
	}
	if err := c.ours.Renew(t.Context(), got.Claim, time.Minute); err != nil {
		t.Error(err)
	}
	if err := c.ours.Finish(t.Context(), got.Claim, false); err != nil {
		t.Error(err)
	}
	if c.venv == celery57 {
		last.countInPython(t, c.mixed)
	}
}

func TestFailedChordCountedInTurns(t *testing.T) {
	t.Parallel()
	forEachChordTest(t, func(t *testing.T, c *chordTest, _ bool) {
		parts := chordParts()[:2]
		parts[0].state, parts[0].result = "FAILURE", []any{"bad", 1}
		parts[0].json = `{"exc_type": "ValueError", "exc_message": ["bad", 1], "exc_module": "builtins"}`
		c.begin(t, len(parts))
		for _, p := range parts {
			p.countInPython(t, c.alone)
		}
		parts[0].countInPython(t, c.mixed)
		got := parts[1].count(t, c.ours)
		if got.State != backend.ChordComplete {
			t.Fatalf("the last part: %+v", got)
		}
		if err := c.ours.Finish(t.Context(), got.Claim, true); err != nil {
			t.Fatal(err)
		}
		except := []string{".c"} // ours stays, to turn late parts away
		if c.venv == celery52 {
			except = append(except, ".s") // 5.2 lets the next late part fail the chord again
		}
		c.same(t, "after the failure", except...)
		parts[1].countInPython(t, c.mixed)
		if exists, _ := redis.Bool(c.keys[1].Do("EXISTS", "celery-task-meta-body")); exists {
			t.Error("Python has failed the body again")
		}
	})
}

// TestChordOfADeadWorker: one of ours dies that was about to publish the body of a chord, or is slow. Celery's worker may get the part that has
// completed it at once, on RabbitMQ, and would not publish the body of a chord that it takes for claimed, then or later.
func TestChordOfADeadWorker(t *testing.T) {
	t.Parallel()
	c := newChordTest(t, celery57, true)
	c.ours = openBackend(t, c.server.url(2), redisbackend.Config{})
	parts := chordParts()[:2]
	c.begin(t, len(parts))
	parts[0].countInPython(t, c.mixed)
	dead := parts[1].count(t, c.ours)
	if dead.State != backend.ChordComplete {
		t.Fatalf("the last part: %+v", dead)
	}
	if got := parts[1].count(t, c.ours); got.State != backend.ChordClaimed || got.Lease <= 0 {
		t.Errorf("the last part once more, in another worker: %+v", got)
	}
	parts[1].countInPython(t, c.mixed)
	if got := chordBodies(t, c.server, 2); len(got) != 1 {
		t.Errorf("Celery published %d bodies", len(got))
	}
	for name, err := range map[string]error{
		"Renew":    c.ours.Renew(t.Context(), dead.Claim, time.Minute),
		"TakeBody": c.ours.TakeBody(t.Context(), dead.Claim),
		"Finish":   c.ours.Finish(t.Context(), dead.Claim, false),
	} {
		if !errors.Is(err, backend.ErrClaimLost) {
			t.Errorf("%s of who was slow: %v", name, err)
		}
	}
	if got := parts[1].count(t, c.ours); got.State != backend.ChordDone {
		t.Errorf("the last part after that: %+v", got)
	}
}
