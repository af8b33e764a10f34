package redisbroker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/settings/connection"
)

// idleClaim starts a Claim, and returns when its waiter is blocked.
func (s *server) idleClaim(t *testing.T, c *redisbroker.Consumer) <-chan []broker.Delivery {
	t.Helper()
	claimed := make(chan []broker.Delivery, 1)
	go func() {
		ds, err := c.Claim(t.Context(), 4)
		if err != nil {
			t.Errorf("Claim: %v", err)
		}
		claimed <- ds
	}()
	eventually(t, "the waiter blocks", func() bool {
		return strings.Contains(fmt.Sprintf("%s", s.Do(t, "CLIENT", "LIST")), "cmd=brpoplpush")
	})
	return claimed
}

func delivered(t *testing.T, claimed <-chan []broker.Delivery) broker.Delivery {
	t.Helper()
	select {
	case ds := <-claimed:
		if len(ds) != 1 {
			t.Fatalf("claimed %d messages, want 1", len(ds))
		}
		return ds[0]
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was claimed")
		return broker.Delivery{}
	}
}

// The waiter of an idle worker claims a message as the claim script does, which is not needed.
func TestWaiterClaims(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	for i := range 3 {
		claimed := s.idleClaim(t, c)
		raw := envelopetest.New("q", fmt.Sprint(i), 0)
		s.Do(t, "LPUSH", "q", raw)
		d := delivered(t, claimed)
		if record := fmt.Sprintf("%s", s.Do(t, "HGET", "unacked", d.Tag)); record != fmt.Sprintf(`[%s,"","q"]`, raw) {
			t.Errorf("the record is %s", record)
		}
		if d.Queue != "q" || string(d.Raw) != string(raw) || d.Term != c.Lease().Term || d.Claimed.IsZero() {
			t.Errorf("delivered %+v", d)
		}
		if lost, err := c.Ack(t.Context(), d.Tag); len(lost) > 0 || err != nil {
			t.Errorf("Ack: lost %v, %v", lost, err)
		}
	}
	if stats := fmt.Sprintf("%s", s.Do(t, "INFO", "commandstats")); strings.Contains(stats, "cmdstat_ltrim") {
		t.Error("the claim script has claimed something")
	}
	if n := s.int(t, "EXISTS", "q", "apium.inbox.q", "unacked", "unacked_index"); n > 0 {
		t.Errorf("%d keys are left", n)
	}
}

// What another list holds is looked at by the claim script: here the more urgent message comes first.
func TestWaiterLeavesAChoice(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	claimed := s.idleClaim(t, c)
	conn := s.Dial(t, 0)
	if err := conn.Send("MULTI"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]any{{"q\x06\x166", envelopetest.New("q", "later", 6)}, {"q", envelopetest.New("q", "first", 0)}} {
		if err := conn.Send("LPUSH", args...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Do("EXEC"); err != nil {
		t.Fatal(err)
	}
	got := ids(t, <-claimed)
	if want := []string{"first", "later"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("claimed %v, want %v", got, want)
	}
}

// The answer to a waiter's claim is lost: what it claimed is found, and comes once.
func TestWaiterLosesItsAnswer(t *testing.T) {
	t.Parallel()
	s, faults := newServer(t), new(redistest.Faults)
	c, err := redisbroker.Open(t.Context(), redisbroker.Config{
		URL: s.URL(0), Connection: connection.Options{Dial: faults.Dial}, Queues: broker.Named("q"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 3 {
		faults.LoseAnswers("BRPOPLPUSH", 1)
		claimed := s.idleClaim(t, c)
		s.Do(t, "LPUSH", "q", envelopetest.New("q", fmt.Sprint(i), 0))
		d := delivered(t, claimed)
		if got := ids(t, []broker.Delivery{d}); got[0] != fmt.Sprint(i) || faults.Left() > 0 {
			t.Errorf("claimed %v, want %d; %d answers were not lost", got, i, faults.Left())
		}
		if lost, err := c.Ack(t.Context(), d.Tag); len(lost) > 0 || err != nil {
			t.Errorf("Ack: lost %v, %v", lost, err)
		}
	}
	if n := s.int(t, "EXISTS", "q", "apium.inbox.q", "unacked", "unacked_index"); n > 0 {
		t.Errorf("%d keys are left", n)
	}
}
