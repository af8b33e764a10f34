package brokertest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
)

func (c *consumer) forward(queue string, ds ...broker.Delivery) {
	c.f.t.Helper()
	if err := c.able.Mover.Forward(c.f.context(), queue, ds...); err != nil {
		c.f.t.Fatalf("Forward: %v", err)
	}
}

// testMove moves what is held.
func testMove(t *testing.T, f *fixture) {
	c, other := f.open("q"), f.open("other")
	f.publish("q", "1", "2", "3")
	ds := c.collect(3, 3)
	c.forward("other", ds[:2]...)
	if err := c.able.Mover.Bury(f.context(), broker.DeadLetter{Delivery: ds[2], Reason: "poison", At: time.Now()}); err != nil {
		t.Fatalf("Bury: %v", err)
	}
	f.wantLeased(0)
	wantIDs(t, other.collect(2, 2), "1", "2")
	letters := f.DeadLetters(t)
	if len(letters) != 1 || letters[0].Reason != "poison" {
		t.Fatalf("dead letters: %+v", letters)
	}
	wantMessage(t, letters[0].Content, Message("3", 0))
}

func testForward(t *testing.T, f *fixture) {
	c, other := f.open("q"), f.open("other")
	f.send("q", Message("1", 0), Message("2", 0), Message("3", 0), Message("low", 9))
	ds := c.collect(4, 4)
	f.TakeAway(t, ds[2].Tag)
	f.publish("other", "before")
	c.forward("other", ds...)
	wantIDs(t, other.collect(4, 4), "before", "1", "2", "low")
	wantIDs(t, c.claim(4), "3+") // was not ours any more
	if lost := c.ack(ds...); len(lost) != 4 {
		t.Errorf("ack of forwarded messages: lost %v, want all", lost)
	}
}

func testBury(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3")
	ds := c.collect(3, 3)
	f.TakeAway(t, ds[1].Tag)
	at := time.Now().UTC().Truncate(time.Millisecond)
	letters := make([]broker.DeadLetter, len(ds))
	for i, d := range ds {
		letters[i] = broker.DeadLetter{Delivery: d, Reason: "poison", At: at.Add(time.Duration(i) * time.Millisecond)}
	}
	if err := c.able.Mover.Bury(f.context(), letters...); err != nil {
		t.Fatalf("Bury: %v", err)
	}
	f.wantLeased(0)
	wantIDs(t, c.claim(3), "2+")
	type letter struct {
		Queue, Reason string
		At            time.Time
	}
	var got []letter
	for i, l := range f.DeadLetters(t) {
		got = append(got, letter{l.Queue, l.Reason, l.At.UTC()})
		wantMessage(t, l.Content, Message([]string{"1", "3"}[i], 0))
	}
	want := []letter{{"q", "poison", at}, {"q", "poison", at.Add(2 * time.Millisecond)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

// Only what went back because its worker died is counted, until it is done; from the
// second time on, only if it had been started.
func testRedeliveries(t *testing.T, f *fixture) {
	c := f.open("q")
	want := func(n int, ds []broker.Delivery) broker.Delivery {
		t.Helper()
		if ds[0].Redeliveries != n {
			t.Errorf("%d redeliveries, want %d", ds[0].Redeliveries, n)
		}
		return ds[0]
	}
	f.publish("q", "1")
	d := want(0, c.claim(1))
	c.requeue(broker.Front, d)
	d = want(0, c.claim(1))
	f.TakeAway(t, d.Tag)
	d = want(1, c.claim(1))
	f.TakeAway(t, d.Tag) // held, but not started
	d = want(1, c.claim(1))
	for i := range 2 {
		if err := c.able.Starter.Started(f.context(), d.Tag); err != nil {
			t.Fatal(err)
		}
		f.TakeAway(t, d.Tag)
		d = want(i+2, c.claim(1))
	}
	d.Redeliveries++ // its worker knows of a death
	c.requeue(broker.Back, d)
	d = want(4, c.claim(1))
	c.requeue(broker.Front, d)
	d = want(4, c.claim(1))
	c.park(time.Hour, d)
	d = want(4, c.due(2*time.Hour, 1))
	c.ack(d)
	f.publish("q", "1")
	d = c.claim(1)[0]
	c.requeue(broker.Front, d)
	want(0, c.claim(1))
}
