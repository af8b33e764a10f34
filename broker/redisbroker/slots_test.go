package redisbroker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
)

// lead makes a node the leader of schedule "s".
func lead(t *testing.T, p broker.Slots, node string) {
	t.Helper()
	if leader, left, err := p.Lead(t.Context(), "s", node, time.Minute); leader != node || left != time.Minute || err != nil {
		t.Fatalf("Lead: %q leads for %v, %v", leader, left, err)
	}
}

// turn is a run of an entry that sends one message.
func turn(entry, before, after string) broker.Turn {
	return broker.Turn{Entry: entry, Before: before, After: after, Publish: []broker.Publication{message(entry + after)}}
}

// take takes turns as node one, until it succeeds, as callers do, and returns what became of them.
func take(t *testing.T, p broker.Slots, turns ...broker.Turn) []broker.Taken {
	t.Helper()
	for attempt := range 10 {
		taken, err := p.Take(t.Context(), "s", "one", turns...)
		if err == nil {
			return taken
		}
		t.Logf("attempt %d: %v", attempt, err)
	}
	t.Fatal("cannot take turns")
	return nil
}

// TestTakeTurns: of what is taken the messages are where publishing would have put them, of what is not
// there are none; and what is stored says who was first.
func TestTakeTurns(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: s.URL(0), GlobalKeyprefix: "pfx:"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	lead(t, p, "one")
	urgent := turn("b", "", "b1")
	urgent.Publish[0].Message = brokertest.Message("b1", 9)
	got := take(t, p, turn("a", "", "a1"), urgent, turn("a", "", "a2"), turn("a", "a1", "a3"), broker.Turn{Entry: "c", After: "noted"})
	want := []broker.Taken{{OK: true}, {OK: true}, {Stored: "a1"}, {OK: true}, {OK: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	for list, n := range map[string]int{"pfx:q": 2, "pfx:q\x06\x169": 1} {
		if got := s.int(t, "LLEN", list); got != n {
			t.Errorf("%d messages in %q, want %d", got, list, n)
		}
	}
	for _, set := range []string{"pfx:_kombu.binding.q", "pfx:_kombu.binding_permanent.q"} {
		if n := s.int(t, "SCARD", set); n != 1 {
			t.Errorf("%d bindings in %s", n, set)
		}
	}
	stored, err := p.Slots(t.Context(), "s")
	if diff := cmp.Diff(map[string]string{"a": "a3", "b": "b1", "c": "noted"}, stored); diff != "" || err != nil {
		t.Errorf("stored: %v (-want +got):\n%s", err, diff)
	}
	take(t, p, broker.Turn{Entry: "a", Before: "a3"}, broker.Turn{Entry: "b", Before: "b0"})
	if stored, err := p.Slots(t.Context(), "s"); len(stored) != 2 || stored["b"] != "b1" || err != nil {
		t.Errorf("after forgetting one: %v, %v", stored, err)
	}
}

// TestBesideATurn: what others keep of a run changes with it, or not at all; and their lock is heeded.
func TestBesideATurn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Do(t, "SET", "no hash", "1")
	p := s.publisher(t)
	lead(t, p, "one")
	beside := func(entry, before, after, token string) broker.Turn {
		turn := turn(entry, before, after)
		turn.Beside = &broker.Beside{Lock: "lock", Token: token, Commands: [][]string{
			{"HSET", "no hash", "f", "1"}, {"HSET", "others:" + entry, "meta", after}, {"ZADD", "others", "5", entry},
		}}
		return turn
	}
	s.Do(t, "SET", "lock", "mine")
	s.Do(t, "HSET", "others:a", "meta", "")
	s.Do(t, "ZADD", "others", 1, "a")
	got := take(t, p, beside("a", "", "a1", "mine"), beside("c", "", "c1", "mine"), beside("b", "", "b1", "another's"), beside("a", "", "a2", "mine"))
	want := []broker.Taken{{OK: true}, {OK: true}, {Locked: true}, {Stored: "a1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if meta := s.Do(t, "HGET", "others:a", "meta"); string(meta.([]byte)) != "a1" || s.int(t, "EXISTS", "others:c") != 0 || s.int(t, "LLEN", "q") != 2 {
		t.Errorf("stored beside: %s", meta)
	}
	s.Do(t, "DEL", "lock")
	if got := take(t, p, beside("a", "", "a1", "mine"), beside("a", "a1", "a2", "mine")); !got[0].OK || !got[1].Locked {
		t.Errorf("without the lock: %v; what was taken before counts as taken", got)
	}
}

// TestOnlyTheLeaderTakesTurns: who was deposed, or has let its time pass, sends nothing.
func TestOnlyTheLeaderTakesTurns(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.publisher(t)
	deposed := func(node, leader string) {
		t.Helper()
		var e *broker.DeposedError
		if _, err := p.Take(t.Context(), "s", node, turn("a", "", "a1")); !errors.As(err, &e) || e.Leader != leader || e.Error() == "" {
			t.Errorf("Take: %v, want %q to lead", err, leader)
		}
		if n := s.int(t, "EXISTS", "q", "apium.beat.s"); n != 0 {
			t.Errorf("something was sent, or stored")
		}
	}
	deposed("one", "")
	lead(t, p, "one")
	lead(t, p, "one")
	if leader, left, err := p.Lead(t.Context(), "s", "two", time.Hour); leader != "one" || left <= 0 || left > time.Minute || err != nil {
		t.Errorf("%q leads for %v, %v", leader, left, err)
	}
	deposed("two", "one")
	if err := p.Resign(t.Context(), "s", "two"); err != nil {
		t.Fatal(err)
	}
	deposed("two", "one")
	if err := p.Resign(t.Context(), "s", "one"); err != nil {
		t.Fatal(err)
	}
	deposed("one", "")
	lead(t, p, "two")
	deposed("one", "two")
}

// TestLostAnswerToTake: the answer is lost with the connection. The turn was taken, and is not again.
func TestLostAnswerToTake(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, faults := s.faultyPublisher(t)
	lead(t, p, "one")
	faults.LoseAnswers(`"aa1"`, 2)
	if got := take(t, p, turn("a", "", "a1"), turn("b", "", "b1")); !got[0].OK || !got[1].OK {
		t.Errorf("taken: %v", got)
	}
	if n := s.int(t, "LLEN", "q"); n != 2 || faults.Left() != 0 {
		t.Errorf("%d messages, want 2; %d answers were not lost", n, faults.Left())
	}
}

// TestLateTake: a turn that comes late, after it was sent once more, or when others lead, is not taken again.
func TestLateTake(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, leads := range []string{"one", "two"} {
		s.Do(t, "FLUSHALL")
		p, faults := s.faultyPublisher(t)
		lead(t, p, "one")
		faults.Delay(`"aa1"`)
		take(t, p, turn("a", "", "a1"))
		take(t, p, turn("a", "a1", "a2"))
		s.Do(t, "DEL", "apium.beat.leader.s")
		lead(t, p, leads)
		faults.Deliver(t)
		if n := s.int(t, "LLEN", "q"); n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
	}
}

// TestRefusedTurn: a message that cannot be published is named, and none of the turns is taken.
func TestRefusedTurn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Do(t, "SET", "no list", "1")
	p := s.publisher(t)
	lead(t, p, "one")
	unroutable, noList := turn("b", "", "b1"), turn("b", "", "b1")
	unroutable.Publish[0].Exchange = "nobody's"
	noList.Publish[0].RoutingKey = "no list"
	for _, bad := range []broker.Turn{unroutable, noList} {
		var refused *broker.RefusedError
		if _, err := p.Take(t.Context(), "s", "one", turn("a", "", "a1"), bad); !errors.As(err, &refused) {
			t.Errorf("Take: %v", err)
		} else if bad.Publish[0].Exchange != "" && refused.Index != 1 {
			t.Errorf("turn %d was refused", refused.Index)
		}
	}
	if n := s.int(t, "EXISTS", "q", "apium.beat.s"); n != 0 {
		t.Error("something was sent, or stored")
	}
}

// TestSlotsAfterClose: a publisher that is closed says so.
func TestSlotsAfterClose(t *testing.T) {
	t.Parallel()
	p := newServer(t).publisher(t)
	p.Close()
	_, _, leadErr := p.Lead(t.Context(), "s", "one", time.Minute)
	_, slotsErr := p.Slots(t.Context(), "s")
	_, takeErr := p.Take(context.Background(), "s", "one", turn("a", "", "a1"))
	for _, err := range []error{leadErr, p.Resign(t.Context(), "s", "one"), slotsErr, takeErr} {
		if !errors.Is(err, broker.ErrClosed) {
			t.Errorf("%v, want %v", err, broker.ErrClosed)
		}
	}
}
