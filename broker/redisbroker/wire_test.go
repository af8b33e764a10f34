package redisbroker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Do(t, "LPUSH", "pfx:q|5", envelopetest.New("q", "1", 7))
	c := s.open(t, redisbroker.Config{
		Queues: broker.Named("q"), GlobalKeyprefix: "pfx:", Sep: "|", PrioritySteps: []int{0, 5},
		UnackedKey: "held", UnackedIndexKey: "held_index",
	})
	ds, err := c.Claim(t.Context(), 5)
	if err != nil || len(ds) != 1 || ds[0].Queue != "q" {
		t.Fatalf("Claim: %v, %v", ds, err)
	}
	want := []string{ds[0].Tag, fmt.Sprintf(`[%s,"","q"]`, envelopetest.New("q", "1", 7))}
	if diff := cmp.Diff(want, s.strings(t, "HGETALL", "pfx:held")); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if n := s.int(t, "ZCARD", "pfx:held_index"); n != 1 {
		t.Errorf("%d index members, want 1", n)
	}
	for _, set := range []string{"pfx:_kombu.binding.q", "pfx:_kombu.binding_permanent.q"} {
		if diff := cmp.Diff([]string{"q||q"}, s.strings(t, "SMEMBERS", set)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", set, diff)
		}
	}
	if err := c.Requeue(t.Context(), broker.Back, ds...); err != nil {
		t.Fatal(err)
	}
	if n := s.int(t, "LLEN", "pfx:q|5"); n != 1 {
		t.Errorf("%d messages in the list of step 5 after Requeue, want 1", n)
	}
}

// A message that cannot be an object is delivered as it is, and its record is JSON.
func TestClaimGarbage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	for _, raw := range []string{"", "garbage", "\x00\xff\"\\\n\x7f", "[1]", "{", "é€"} {
		s.Do(t, "LPUSH", "q", raw)
		ds, err := c.Claim(t.Context(), 5)
		if err != nil || len(ds) != 1 || string(ds[0].Raw) != raw {
			t.Fatalf("Claim of %q: %+v, %v", raw, ds, err)
		}
		record := s.strings(t, "HVALS", "unacked")[0]
		e, err := redisbroker.DecodeEntry([]byte(record))
		if err != nil || string(e) != raw {
			t.Errorf("record %s says %q, %v; want %q", record, e, err, raw)
		}
		if lost, err := c.Ack(t.Context(), ds[0].Tag); len(lost) > 0 || err != nil {
			t.Errorf("Ack: %v, %v", lost, err)
		}
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	const sep = "\x06\x16"
	s := newServer(t)
	s.Do(t, "SET", "unacked_mutex", "python") // also keeps the sweep at start away
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	s.Do(t, "SADD", "_kombu.binding.ex", "rk"+sep+sep+"direct", "a.*"+sep+`^a\..*?[^\.]$`+sep+"topic")
	add := func(score int64, tag, record string) {
		s.Do(t, "HSET", "unacked", tag, record)
		s.Do(t, "ZADD", "unacked_index", score, tag)
	}
	envelope := func(id string) string { return string(envelopetest.New("q", id, 3)) }
	add(1, "t1", "["+envelope("old")+`, "", "q"]`)
	add(2, "t2", "["+envelope("new")+`, "", "q"]`)
	add(3, "t3", "["+envelope("d")+`, "ex", "rk"]`)
	add(4, "t4", "["+envelope("t")+`, "ex", "a.b"]`)
	add(5, "t5", "["+envelope("nowhere")+`, "ex", "none"]`)
	for i, garbage := range []string{"", "x", "{}", "[]", `["a","",""]`, `[{},"","q"]`, "\xff", `[null,null,null]`, "[[[["} {
		add(int64(6+i), fmt.Sprint("garbage", i), garbage)
	}
	s.Do(t, "ZADD", "unacked_index", 20, "no-record")
	add(1<<40, "fresh", "["+envelope("fresh")+`, "", "q"]`)

	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.int(t, "LLEN", "q"+sep+"3"); n != 0 {
		t.Fatalf("%d messages restored while the mutex was held", n)
	}
	if got := fmt.Sprintf("%s", s.Do(t, "GET", "unacked_mutex")); got != "python" {
		t.Fatalf("mutex is %q", got)
	}
	s.Do(t, "DEL", "unacked_mutex")
	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for list, n := range map[string]int{"q" + sep + "3": 2, "direct" + sep + "3": 1, "topic" + sep + "3": 1} {
		if got := s.int(t, "LLEN", list); got != n {
			t.Errorf("%q has %d messages, want %d", list, got, n)
		}
	}
	if diff := cmp.Diff([]string{"fresh"}, s.strings(t, "HKEYS", "unacked")); diff != "" {
		t.Errorf("records left (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"fresh"}, s.strings(t, "ZRANGE", "unacked_index", 0, -1)); diff != "" {
		t.Errorf("index members left (-want +got):\n%s", diff)
	}
	if n := s.int(t, "EXISTS", "unacked_mutex"); n != 0 {
		t.Error("the mutex was not released")
	}
	ds, err := c.Claim(t.Context(), 2)
	if err != nil || len(ds) != 2 {
		t.Fatal(ds, err)
	}
	if got := ids(t, ds); got[0] != "old" || got[1] != "new" {
		t.Errorf("served %v, want the oldest first", got)
	}
}

// A mutex whose holder was killed keeps nobody from sweeping for longer than a sweep takes; our
// own is gone after that time, too.
func TestSweepWithAStuckMutex(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Do(t, "SET", "unacked_mutex", "dead", "EX", 300)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q"), UnackedMutexExpire: 200 * time.Millisecond})
	s.Do(t, "HSET", "unacked", "t1", "["+string(envelopetest.New("q", "old", 0))+`, "", "q"]`)
	s.Do(t, "ZADD", "unacked_index", 1, "t1")
	if err := c.Sweep(t.Context()); err != nil || s.int(t, "LLEN", "q") != 0 {
		t.Fatalf("swept although another one seems to: %v", err)
	}
	eventually(t, "the message is restored", func() bool {
		if err := c.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s.int(t, "LLEN", "q") == 1
	})
	if got := fmt.Sprintf("%s", s.Do(t, "GET", "unacked_mutex")); got != "dead" {
		t.Errorf("the mutex of another one is %q", got)
	}
}
