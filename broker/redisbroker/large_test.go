package redisbroker_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/redistest"
)

// large is a message of a bit more than size bytes.
func large(id string, size int) []byte {
	return append(bytes.TrimSuffix(envelopetest.New("q", id, 0), []byte("}")),
		fmt.Sprintf(`, "pad": "%s"}`, bytes.Repeat([]byte("x"), size))...)
}

// pushLarge puts messages of a size on q, and returns them.
func pushLarge(t *testing.T, s *server, n, size int) (all [][]byte) {
	t.Helper()
	for i := range n {
		all = append(all, large(strconv.Itoa(i), size))
		s.Do(t, "LPUSH", "q", all[i])
	}
	return all
}

// garbage is larger than what a claim escapes, and what a letter holds.
var garbage = bytes.Repeat([]byte("\xff\x00garbage\""), 40_000)

// A large message that is no object is not claimed, which would keep Redis from serving
// others while it is escaped: it becomes a dead letter as it is.
func TestLargeGarbage(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]redistest.Option{"redis": nil, "redis 3.2": {redistest.Redis32()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, opts...)
			c := s.open(t, redisbroker.Config{Queues: broker.Named("q"), Hostname: "w@h"})
			before, after := envelopetest.New("q", "before", 0), envelopetest.New("q", "after", 0)
			s.Do(t, "LPUSH", "q", before, garbage, garbage, after)
			for _, want := range [][]byte{before, after} {
				ds, err := c.Claim(t.Context(), 10)
				if err != nil || len(ds) != 1 || !bytes.Equal(ds[0].Raw, want) {
					t.Fatalf("claimed %d, %v; want %s", len(ds), err, want)
				}
			}
			if n := s.int(t, "HLEN", "unacked"); n != 2 {
				t.Errorf("%d records", n)
			}

			d := s.deadLetters(t)
			letters, err := d.List(t.Context(), 0, -1)
			if err != nil || len(letters) != 2 {
				t.Fatalf("%d letters, %v", len(letters), err)
			}
			l, err := d.Get(t.Context(), letters[0].ID)
			if err != nil || !bytes.Equal(l.Raw, garbage) || l.Size != len(garbage) || l.Queue != "q" || l.Hostname != "w@h" ||
				time.Since(l.Time) > time.Minute || letters[0].Raw != nil {
				t.Errorf("%d bytes, %v", len(l.Raw), err)
			}
			if err := c.Close(); err != nil { // or it would bury it again
				t.Error(err)
			}
			if done, err := d.Replay(t.Context(), letters[0].ID); len(done) != 1 || err != nil {
				t.Errorf("replayed %q, %v", done, err)
			}
			if back := s.strings(t, "LRANGE", "q", 0, 0); back[0] != string(garbage) {
				t.Errorf("%d bytes are back", len(back[0]))
			}
			if done, err := d.Drop(t.Context(), letters[1].ID); len(done) != 1 || err != nil {
				t.Errorf("dropped %q, %v", done, err)
			}
			if keys := s.strings(t, "KEYS", "apium.dlq*"); len(keys) > 0 {
				t.Errorf("left over: %q", keys)
			}
		})
	}
}

// A claim takes so many bytes, not only so many messages; what it leaves comes with the next.
func TestClaimIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	all := pushLarge(t, s, 20, 1<<20)
	small := envelopetest.New("q", "small", 0)
	s.Do(t, "RPUSH", "q", small)
	all = append([][]byte{small}, all...)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	for calls := 0; len(all) > 0; calls++ {
		ds, err := c.Claim(t.Context(), 1000)
		if err != nil || len(ds) > 17 || calls > 2 {
			t.Fatalf("claim %d brought %d, %v", calls, len(ds), err)
		}
		for _, d := range ds {
			if !bytes.Equal(d.Raw, all[0]) {
				t.Fatalf("claimed out of order: %.300s", d.Raw)
			}
			all = all[1:]
		}
	}
}

// A claim of much garbage that is not large escapes part of it at a time.
func TestClaimOfGarbageIsBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for range 50 {
		s.Do(t, "LPUSH", "q", garbage[:50_000])
	}
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	for left := 50; left > 0; {
		ds, err := c.Claim(t.Context(), 1000)
		if err != nil || len(ds) > 3 {
			t.Fatalf("claimed %d, %v", len(ds), err)
		}
		left -= len(ds)
	}
}

// The message of a large letter is kept apart, and goes back as it was.
func TestLargeLetter(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	raw := pushLarge(t, s, 1, 1<<20)[0]
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	bury(t, c, 1)
	d := s.deadLetters(t)
	letters, err := d.List(t.Context(), 0, -1)
	if err != nil || len(letters) != 1 || letters[0].Raw != nil || letters[0].TaskID != "0" {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	if ttl := s.int(t, "TTL", "apium.dlq.raw."+letters[0].ID); ttl != -1 {
		t.Errorf("the message is kept for %d seconds", ttl)
	}
	if done, err := d.Replay(t.Context(), letters[0].ID); len(done) != 1 || err != nil {
		t.Errorf("replayed %q, %v", done, err)
	}
	ds, err := c.Claim(t.Context(), 1)
	if err != nil || !bytes.Equal(ds[0].Raw, raw) {
		t.Errorf("%d bytes are back, %v", len(ds[0].Raw), err)
	}
}

// What a worker held comes back in portions, all of it.
func TestLargeMessagesComeBack(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const n = 30
	pushLarge(t, s, n, 128<<10)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	for left := n; left > 0; {
		ds, err := c.Claim(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			s.Do(t, "ZADD", "unacked_index", 1, d.Tag)
		}
		left -= len(ds)
	}
	other := s.open(t, redisbroker.Config{Queues: broker.Named("other")})
	eventually(t, "everything is back", func() bool {
		if err := other.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s.int(t, "LLEN", "q") == n && s.int(t, "HLEN", "unacked") == 0
	})
}

// What is due is claimed in portions, in order.
func TestDueIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	all := pushLarge(t, s, 18, 1<<20)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	for n := 0; n < len(all); {
		ds, err := c.Claim(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			due := time.Now().Add(time.Hour + time.Duration(n)*time.Second)
			if lost, err := c.Park(t.Context(), broker.Parked{Delivery: d, Due: due}); len(lost) > 0 || err != nil {
				t.Fatalf("lost %d, %v", len(lost), err)
			}
			n++
		}
	}
	for left := all; len(left) > 0; {
		ds, err := c.Due(t.Context(), time.Now().Add(3*time.Hour), 1000)
		if err != nil || len(ds) == 0 || len(ds) > 16 {
			t.Fatalf("%d are due, %v", len(ds), err)
		}
		for _, d := range ds {
			if !bytes.Equal(d.Raw, left[0]) {
				t.Fatalf("due out of order: %.300s", d.Raw)
			}
			left = left[1:]
		}
	}
}

// What a large message costs is its body: no envelope is made of it before it is sent, and the reader has a buffer.
func TestLargeMessageIsSentWithoutCopies(t *testing.T) { //nolint:paralleltest // it looks at what the process allocates
	s := newServer(t)
	p := s.publisher(t)
	m := brokertest.Message("1", 0)
	m.Body = bytes.Repeat([]byte(`"0123456789abcdef", `), 1<<20)
	publish := func() {
		if err := p.Publish(t.Context(), broker.Publication{RoutingKey: "a", Message: m}); err != nil {
			t.Error(err)
		}
	}
	publish() // declares the queue
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	publish()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(len(m.Body)/10) {
		t.Errorf("%d bytes were allocated for a message of %d", n, len(m.Body))
	}
	got := s.strings(t, "LRANGE", "a", 0, -1)
	want := string(envelopetest.Encode(m, "", "a", "tag"))
	if len(got) != 2 || tagged(got)[0] != want || got[1] != want {
		t.Error("the message in the queue is another one")
	}
}

// A message that Redis would not take is refused at once: it would close the connection that everybody shares.
func TestTooLargeMessageIsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.publisher(t)
	m := brokertest.Message("1", 0)
	m.Body = make([]byte, 400<<20) // nobody reads it
	err := p.Publish(t.Context(), broker.Publication{RoutingKey: "a", Message: m})
	if refused := broker.Refusals(err); len(refused) != 1 || !strings.Contains(err.Error(), "at most 512 MiB") {
		t.Errorf("a message of more than 512 MiB: %v", err)
	}
	if n := s.int(t, "LLEN", "a"); n != 0 {
		t.Errorf("%d messages", n)
	}
}
