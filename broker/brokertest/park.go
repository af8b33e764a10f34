package brokertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apium/apium/broker"
)

// park parks deliveries for a time from now.
func (c *consumer) park(in time.Duration, ds ...broker.Delivery) (lost []string) {
	c.f.t.Helper()
	parked := make([]broker.Parked, len(ds))
	for i, d := range ds {
		parked[i] = broker.Parked{Delivery: d, Due: time.Now().Add(in + time.Duration(i)*time.Millisecond)}
	}
	lost, err := c.able.Parker.Park(c.f.context(), parked...)
	if err != nil {
		c.f.t.Fatalf("Park: %v", err)
	}
	return lost
}

func (c *consumer) due(in time.Duration, limit int) []broker.Delivery {
	c.f.t.Helper()
	ds, err := c.able.Unparker.Due(c.f.context(), time.Now().Add(in), limit)
	if err != nil {
		c.f.t.Fatalf("Due: %v", err)
	}
	return ds
}

func testPark(t *testing.T, f *fixture) {
	c := f.open("a", "b")
	f.publish("a", "1", "2", "3")
	f.publish("b", "4")
	ds := c.collect(4, 4) // a1 b4 a2 a3
	c.park(2*time.Hour, ds[0])
	c.park(time.Hour, ds[1:]...)
	if lost := c.park(time.Hour, ds[0]); len(lost) != 1 || lost[0] != ds[0].Tag {
		t.Errorf("parking twice: lost %v, want the tag", lost)
	}
	if lost := c.ack(ds...); len(lost) != 4 {
		t.Errorf("ack of parked messages: lost %v, want all", lost)
	}
	if got := c.due(time.Minute, 10); len(got) > 0 {
		t.Errorf("due within a minute: %v", ids(t, got))
	}
	wantIDs(t, c.due(90*time.Minute, 2), "4", "2")
	rest := c.due(3*time.Hour, 10)
	wantIDs(t, rest, "3", "1")
	if d := rest[0]; d.Queue != "a" || d.Tag == ds[3].Tag || ids(t, rest[:1])[0] != "3" {
		t.Errorf("came back as %s from %s under %s", d.Text(), d.Queue, d.Tag)
	}
	if lost := c.park(time.Hour, rest[0]); len(lost) > 0 {
		t.Errorf("parking again: lost %v", lost)
	}
	if lost := c.ack(rest[1]); len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
	wantIDs(t, c.due(3*time.Hour, 10), "3")
}

// The consumer of another queue does not get what is parked.
func testParkedQueues(t *testing.T, f *fixture) {
	a, b := f.open("a"), f.open("b")
	f.publish("a", "1")
	f.publish("b", "2")
	a.park(time.Hour, a.claim(1)...)
	b.park(time.Hour, b.claim(1)...)
	wantIDs(t, a.due(2*time.Hour, 10), "1")
	wantIDs(t, b.due(2*time.Hour, 10), "2")
}

// What nobody claims in time is ready for anybody, in order.
func testOverdue(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3")
	c.park(-time.Hour, c.collect(3, 3)...)
	start := time.Now()
	wantIDs(t, c.collect(3, 3), "1", "2", "3") // not marked: nobody has run them
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("came back after %v", took)
	}
}

// Claims of parked messages that are interrupted lose nothing.
func testDueInterrupted(t *testing.T, f *fixture) {
	c := f.open("q")
	const n = 20
	for i := range n {
		f.publish("q", fmt.Sprint(i))
	}
	c.park(time.Hour, c.collect(n, n)...)
	var got []broker.Delivery
	for range n {
		ctx, cancel := context.WithCancel(f.context())
		go cancel()
		ds, err := c.able.Unparker.Due(ctx, time.Now().Add(2*time.Hour), 1)
		if err == nil {
			got = append(got, ds...)
		}
		<-ctx.Done()
	}
	for len(got) < n {
		ds := c.due(2*time.Hour, n)
		if len(ds) == 0 {
			t.Fatalf("%d messages came back, want %d", len(got), n)
		}
		got = append(got, ds...)
	}
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	wantIDs(t, got, want...)
}

func testListParked(t *testing.T, f *fixture) {
	c, other := f.open("a", "b"), f.open("c")
	f.publish("a", "1", "2")
	f.publish("b", "3")
	f.publish("c", "4")
	other.park(time.Hour, other.claim(1)...)
	ds := c.collect(3, 3) // a1 b3 a2
	c.park(2*time.Hour, ds[0])
	c.park(time.Hour, ds[1:]...)
	list := func(limit int) []broker.Parked {
		t.Helper()
		list, err := c.able.ParkedLister.ListParked(f.context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	var found []broker.Delivery
	for _, p := range list(10) {
		found = append(found, p.Delivery)
		if wait := time.Until(p.Due); wait < 50*time.Minute || wait > 2*time.Hour {
			t.Errorf("%s is due in %v", p.Queue, wait)
		}
	}
	wantIDs(t, found, "3", "2", "1")
	if found[0].Queue != "b" || len(list(1)) != 1 {
		t.Errorf("list of %+v", found)
	}
	wantIDs(t, c.due(3*time.Hour, 10), "3", "2", "1") // they were not taken
}

// Parked messages are found by their task's id, all of them, in the queues that are consumed.
func testRecall(t *testing.T, f *fixture) {
	c, other := f.open("a", "b"), f.open("c")
	f.publish("a", "1", "2", "3", "4")
	f.publish("b", "5")
	f.publish("c", "6")
	parkAs := func(c *consumer, d broker.Delivery, id string) {
		t.Helper()
		p := broker.Parked{Delivery: d, Due: time.Now().Add(time.Hour), TaskID: id}
		if lost, err := c.able.Parker.Park(f.context(), p); len(lost) > 0 || err != nil {
			t.Fatalf("Park: lost %v, %v", lost, err)
		}
	}
	for i, d := range c.collect(5, 5) { // a1 b5 a2 a3 a4
		parkAs(c, d, []string{"x", "x", "y", "", "x"}[i])
	}
	parkAs(other, other.claim(1)[0], "x")
	recall := func(c *consumer, ids ...string) []broker.Delivery {
		t.Helper()
		ds, err := c.able.Recaller.Recall(f.context(), ids...)
		if err != nil {
			t.Fatalf("Recall: %v", err)
		}
		return ds
	}
	ds := recall(c, "nobody", "x", "")
	wantIDs(t, ds, "1", "5", "4")
	if lost := c.ack(ds[1:]...); len(lost) > 0 {
		t.Errorf("ack of recalled messages: lost %v", lost)
	}
	parkAs(c, ds[0], "x")
	wantIDs(t, recall(c, "x"), "1")
	if ds := recall(c, "x"); len(ds) > 0 {
		t.Errorf("recalled twice: %v", ids(t, ds))
	}
	wantIDs(t, recall(other, "x", "y"), "6")
	wantIDs(t, c.due(2*time.Hour, 10), "2", "3")
}

// Many messages of one task are parked as others are. Some of them are found by its id.
func testParkedUnderOneID(t *testing.T, f *fixture) {
	c := f.open("q")
	const n = 20
	var parked []broker.Parked
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
		f.publish("q", want[i])
	}
	for i, d := range c.collect(n, n) {
		parked = append(parked, broker.Parked{Delivery: d, Due: time.Now().Add(time.Hour + time.Duration(i)*time.Millisecond), TaskID: "x"})
	}
	if lost, err := c.able.Parker.Park(f.context(), parked...); len(lost) > 0 || err != nil {
		t.Fatalf("Park: lost %v, %v", lost, err)
	}
	ds, err := c.able.Recaller.Recall(f.context(), "x")
	if err != nil || len(ds) < 8 {
		t.Errorf("recalled %v, %v", ids(t, ds), err)
	}
	wantIDs(t, append(ds, c.due(2*time.Hour, n)...), want...)
}

// What is parked comes back to its own queue when it is due, says so, and can be parked again.
func testParkedComes(t *testing.T, f *fixture) {
	c, other := f.open("a.b"), f.open("b")
	f.publish("a.b", "1", "2")
	f.publish("b", "3")
	c.park(2*time.Second, c.collect(2, 2)...)
	other.park(3*time.Second, other.claim(1)...)
	f.wantLeased(0)
	start := time.Now()
	ds := c.collect(2, 2)
	wantIDs(t, ds, "1", "2")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("they come after %v", took)
	}
	for _, d := range append(ds, other.claim(1)...) {
		if !d.Unparked {
			t.Errorf("%s does not tell that it was parked", d.Text())
		}
	}
	if lost := c.park(time.Second, ds[0]); len(lost) > 0 {
		t.Errorf("parking again: lost %v", lost)
	}
	if lost := c.park(time.Second, ds[0]); len(lost) != 1 {
		t.Errorf("parking twice: lost %v, want the tag", lost)
	}
	wantIDs(t, c.claim(1), "1")
}
