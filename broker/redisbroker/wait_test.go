package redisbroker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/settings/connection"
)

// A message in an inbox is served at once, whoever's waiter moved it there: a worker that
// was killed, or one that nobody knows of any more.
func TestInboxWithoutOwner(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const sep = "\x06\x16"
	s.Do(t, "LPUSH", "apium.inbox.q", envelopetest.New("q", "left", 0))
	s.Do(t, "LPUSH", "apium.inbox.q"+sep+"6", envelopetest.New("q", "left, not urgent", 0))
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	got := s.claimIDs(t, c, 2)
	s.Do(t, "LPUSH", "apium.inbox.q", envelopetest.New("q", "late", 0)) // now that it is idle
	got = append(got, s.claimIDs(t, c, 1)...)
	if want := []string{"left", "left, not urgent", "late"}; !slices.Equal(got, want) {
		t.Errorf("claimed %q, want %q", got, want)
	}
}

// claimIDs claims n messages and acknowledges them.
func (s *server) claimIDs(t *testing.T, c *redisbroker.Consumer, n int) (got []string) {
	t.Helper()
	for len(got) < n {
		ds, err := c.Claim(t.Context(), n-len(got))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ids(t, ds)...)
		for _, d := range ds {
			if _, err := c.Ack(t.Context(), d.Tag); err != nil {
				t.Fatal(err)
			}
		}
	}
	return got
}

// All connections of an idle worker die in silence while new ones work, and a message has
// come to its waiter meanwhile. It is served by a peer, and the worker is back soon; killed
// at any time after that, nothing is left behind.
func TestConnectionsDieInSilence(t *testing.T) {
	t.Parallel()
	s, network := newServer(t), redistest.NewFreezer(t)
	a, err := redisbroker.Open(t.Context(), redisbroker.Config{URL: s.URL(0), Connection: connection.Options{Dial: network.Dial}, Queues: broker.Named("q")})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	claimed := make(chan string, 10)
	claim := func(c *redisbroker.Consumer) {
		for {
			ds, err := c.Claim(t.Context(), 1)
			if err != nil {
				return // the test is over
			}
			for _, id := range ids(t, ds) {
				claimed <- id
			}
			_, _ = c.Ack(t.Context(), ds[0].Tag)
		}
	}
	go claim(a)
	blocked := func() bool {
		return strings.Contains(fmt.Sprintf("%s", s.Do(t, "CLIENT", "LIST")), "cmd=brpoplpush")
	}
	eventually(t, "the waiter blocks", blocked)
	network.Freeze()
	s.Do(t, "LPUSH", "q", envelopetest.New("q", "1", 0)) // to the dead waiter
	b := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	go claim(b)
	if id := receive(t, claimed); id != "1" {
		t.Errorf("claimed %q", id)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s.Do(t, "LPUSH", "q", envelopetest.New("q", "2", 0))
	if id := receive(t, claimed); id != "2" {
		t.Errorf("claimed %q", id)
	}
	t.Logf("the worker was back %v after its peer had left", time.Since(start))
	if a.Lease().Term != 1 {
		t.Errorf("the sign of life had lapsed: term %d", a.Lease().Term)
	}
	eventually(t, "nothing is left", func() bool {
		return s.int(t, "EXISTS", "apium.inbox.q", "q", "unacked") == 0
	})
}

func receive(t *testing.T, c <-chan string) string {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(28 * time.Second):
		t.Fatal("nothing was claimed")
		return ""
	}
}

// One list of a queue is waited on, and another once it has delivered something, within
// the limit of connections.
func TestWaiters(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	waiting := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprint(n, " lists are waited on"), func() bool {
			return strings.Count(fmt.Sprintf("%s", s.Do(t, "CLIENT", "LIST")), "cmd=brpoplpush") == n
		})
	}
	c := s.open(t, redisbroker.Config{Queues: broker.Named("a", "b"), MaxConnections: 5})
	got := make(chan string)
	go func() {
		for {
			ds, err := c.Claim(t.Context(), 1)
			if err != nil {
				return
			}
			got <- ids(t, ds)[0]
		}
	}()
	waiting(2)
	s.Do(t, "LPUSH", "b\x06\x169", envelopetest.New("b", "urgent", 9))
	receive(t, got) // found by a look
	waiting(3)
	s.Do(t, "LPUSH", "a\x06\x163", envelopetest.New("a", "1", 3))
	receive(t, got)
	waiting(3) // and no more
	if err := c.AddQueue(t.Context(), broker.Queue{Name: "c"}); err != nil {
		t.Fatal(err)
	}
	s.Do(t, "LPUSH", "c", envelopetest.New("c", "new", 0))
	receive(t, got)
	waiting(3)
}
