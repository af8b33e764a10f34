package redisbroker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
)

// bury claims n messages and buries them, a second apart.
func bury(t *testing.T, c *redisbroker.Consumer, n int) {
	t.Helper()
	for i := range n {
		ds, err := c.Claim(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		letter := broker.DeadLetter{Delivery: ds[0], Reason: "poison", At: time.Unix(int64(1900000000+i), 5e6)}
		if err := c.Bury(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q"), Hostname: "w@h"})
	s.publish(t, 3)
	s.Do(t, "LPUSH", "q", "\xffgarbage")
	bury(t, c, 4)
	d := s.deadLetters(t)
	letters, err := d.List(t.Context(), 0, -1)
	if err != nil || len(letters) != 4 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	want := redisbroker.Letter{
		ID: letters[0].ID, Queue: "q", Reason: "poison", Time: time.Unix(1900000000, 5e6).UTC(), Hostname: "w@h",
		Task: "t", TaskID: "0", Raw: letters[0].Raw,
	}
	if diff := cmp.Diff(want, letters[0]); diff != "" || len(want.ID) != 16 {
		t.Errorf("letter (-want +got):\n%s", diff)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(s.strings(t, "HMGET", "apium.dlq", want.ID)[0]), &fields); err != nil || fields["time"] != "2030-03-17T17:46:40.005Z" {
		t.Errorf("kept as %v, %v", fields, err)
	}
	if last := letters[3]; string(last.Raw) != "\xffgarbage" || last.Task != "" {
		t.Errorf("unreadable letter: %+v", last)
	}
	if middle, err := d.List(t.Context(), 1, 2); err != nil || len(middle) != 2 || middle[0].ID != letters[1].ID {
		t.Errorf("List(1, 2): %v, %v", middle, err)
	}
	if got, err := d.Get(t.Context(), letters[2].ID); err != nil || got.TaskID != "2" {
		t.Errorf("Get: %+v, %v", got, err)
	}
	if _, err := d.Get(t.Context(), "none"); !errors.Is(err, broker.ErrNoLetter) {
		t.Errorf("Get of nothing: %v", err)
	}
	dropped, err := d.Drop(t.Context(), letters[1].ID, "none")
	if err != nil || !cmp.Equal(dropped, []string{letters[1].ID}) {
		t.Errorf("Drop: %v, %v", dropped, err)
	}
	replayed, err := d.Replay(t.Context(), letters[3].ID, letters[1].ID, letters[0].ID)
	if err != nil || !cmp.Equal(replayed, []string{letters[3].ID, letters[0].ID}) {
		t.Errorf("Replay: %v, %v", replayed, err)
	}
	if diff := cmp.Diff([]string{string(letters[0].Raw), "\xffgarbage"}, s.strings(t, "LRANGE", "q", 0, -1)); diff != "" {
		t.Errorf("queue after the replay (-want +got):\n%s", diff)
	}
	if n, err := d.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("%d letters left, %v", n, err)
	}
	if ids := s.strings(t, "ZRANGE", "apium.dlq.index", 0, -1); !cmp.Equal(ids, []string{letters[2].ID}) {
		t.Errorf("index: %v", ids)
	}
}

// Several operators replay the same letters: each goes back once.
func TestReplayOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	const n = 150
	s.publish(t, n)
	bury(t, c, n)
	var wg sync.WaitGroup
	var replayed atomic.Int64
	for range 4 {
		d := s.deadLetters(t)
		wg.Go(func() {
			all, err := d.IDs(t.Context(), 0, -1)
			if err == nil {
				all, err = d.Replay(t.Context(), all...)
			}
			if err != nil {
				t.Error(err)
			}
			replayed.Add(int64(len(all)))
		})
	}
	wg.Wait()
	if waiting := s.int(t, "LLEN", "q"); waiting != n || replayed.Load() != n {
		t.Errorf("%d replayed, %d waiting, want %d", replayed.Load(), waiting, n)
	}
}

// Deaths are counted per message, by a key that goes when the message is done.
func TestRedeliveryCounters(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	s.publish(t, 2)
	ds, err := c.Claim(t.Context(), 2)
	if err != nil || len(ds) != 2 {
		t.Fatal(ds, err)
	}
	for _, d := range ds {
		s.Do(t, "ZADD", "unacked_index", 1, d.Tag)
	}
	held := envelopetest.New("q", "python", 0) // for its ETA, perhaps: nobody died
	s.Do(t, "HSET", "unacked", "python's", fmt.Sprintf(`[%s,"","q"]`, held))
	s.Do(t, "ZADD", "unacked_index", 1, "python's")
	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.strings(t, "MGET", "apium.redeliveries.0", "apium.redeliveries.1"); !cmp.Equal(got, []string{"1", "1"}) {
		t.Errorf("counters: %v", got)
	}
	if ttl := s.int(t, "TTL", "apium.redeliveries.0"); ttl < 86400 {
		t.Errorf("the counter lapses in %d s", ttl)
	}
	for {
		ds, err := c.Claim(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range ds {
			want := 1
			if ids(t, ds)[i] == "python" {
				want = 0
			}
			if d.Redeliveries != want {
				t.Errorf("%d redeliveries, want %d", d.Redeliveries, want)
			}
			if want == 1 && c.Started(t.Context(), d.Tag) != nil {
				t.Error("cannot mark it as started")
			}
			if _, err := c.Ack(t.Context(), d.Tag); err != nil {
				t.Fatal(err)
			}
		}
		if s.int(t, "LLEN", "q") == 0 {
			break
		}
	}
	if keys := s.strings(t, "KEYS", "apium.[rs]*"); len(keys) > 0 {
		t.Errorf("left behind: %q", keys)
	}
}
