package brokertest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
)

// testPrefetch: a consumer is handed over what it wants to hold, and nothing else is kept from others.
// What it wants no more goes back.
func testPrefetch(t *testing.T, f *fixture) {
	first := f.open("q")
	f.publish("q", "1", "2", "3", "4", "5")
	wantIDs(t, first.claim(1), "1") // so its share of the others is on its way
	second := f.open("q")
	wantIDs(t, second.collect(2, 2), "4", "5")
	first.wants(0)
	wantIDs(t, second.collect(2, 2), "2+", "3+")
	f.publish("q", "6", "7", "8", "9")
	wantIDs(t, second.collect(4, 4), "6", "7", "8", "9")
	first.wants(2)
	// What is held does not count where there is room for more.
	f.publish("q", "10", "11", "12", "13", "14", "15", "16", "17")
	second.wants(0)
	if got := first.collect(8, 8); len(got) != 8 {
		t.Errorf("collected %d messages", len(got))
	}
}

// await waits until a condition holds.
func (f *fixture) await(what string, holds func() bool) {
	f.t.Helper()
	for ctx := f.context(); !holds(); {
		select {
		case <-ctx.Done():
			f.t.Fatalf("%s: not within %v", what, patience)
		case <-time.After(time.Millisecond):
		}
	}
}

// lostOf tells which of some deliveries are lost.
func (c *consumer) lostOf(ds []broker.Delivery) []string {
	c.f.t.Helper()
	lost, err := c.Extend(c.f.context(), tags(ds)...)
	if err != nil {
		c.f.t.Fatalf("Extend: %v", err)
	}
	slices.Sort(lost)
	return lost
}

// testConnectionLost: what was held is lost with the connection, and comes again, to be claimed in a
// later term.
func testConnectionLost(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3")
	ds := c.collect(2, 2)
	f.CutOff(t)
	f.await("the loss", func() bool { return len(c.lostOf(ds)) == 2 })
	if diff := cmp.Diff(tags(ds), c.ack(ds...)); diff != "" {
		t.Errorf("Ack: lost (-want +got):\n%s", diff)
	}
	c.requeue(broker.Front, ds...)
	again := c.collect(3, 3)
	got := ids(t, again)
	for i := range got {
		got[i] = got[i][:1] // the last was handed over, or not
	}
	if diff := cmp.Diff([]string{"1", "2", "3"}, got); diff != "" {
		t.Errorf("claimed messages (-want +got):\n%s", diff)
	}
	if f.promised.Leases && (again[0].Term <= ds[0].Term || again[0].Term != c.able.Leaser.Lease().Term) {
		t.Errorf("terms %d and %d, now %d", ds[0].Term, again[0].Term, c.able.Leaser.Lease().Term)
	}
	if lost := c.ack(again...); len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
	f.wantLeased(0)
	f.publish("q", "4")
	wantIDs(t, c.claim(5), "4")
}

// testJoin: what runs is held although its connection is lost, its message is not claimed again, and
// becomes what the first delivery becomes, whenever that is known.
func testJoin(t *testing.T, f *fixture) {
	c := f.open("q")
	begin := func(d broker.Delivery, want bool) {
		t.Helper()
		if c.able.Joiner.Begin(d.Tag) != want {
			t.Errorf("%v begins: not %v", ids(t, []broker.Delivery{d}), want)
		}
	}
	f.publish("q", "1", "2", "3", "4", "5")
	ds := c.collect(5, 5)
	for _, d := range ds[:4] {
		begin(d, true)
	}
	f.CutOff(t)
	f.await("the loss", func() bool { return slices.Equal(c.lostOf(ds), tags(ds[4:])) })
	begin(ds[4], false)
	begin(ds[0], true) // it goes on
	if lost := c.ack(ds[0]); len(lost) > 0 {
		t.Errorf("Ack: lost %v", lost)
	}
	again := c.claim(5) // by then the others have come again, too
	wantIDs(t, again, "5+")
	if lost := c.ack(ds[1], again[0]); len(lost) > 0 {
		t.Errorf("Ack: lost %v", lost)
	}
	c.requeue(broker.Front, ds[2])
	again = c.claim(5)
	wantIDs(t, again, "3+")
	if lost := c.ack(again...); len(lost) > 0 {
		t.Errorf("Ack: lost %v", lost)
	}
	f.CutOff(t) // once more, for the one that still runs
	f.await("the loss", func() bool { return len(c.ack(again...)) == 1 })
	if lost := c.lostOf(ds[3:4]); len(lost) > 0 {
		t.Errorf("Extend: lost %v", lost)
	}
	f.publish("q", "6")
	wantIDs(t, c.claim(5), "6")
	if lost := c.ack(ds[3]); len(lost) > 0 {
		t.Errorf("Ack: lost %v", lost)
	}
	if diff := cmp.Diff(tags(ds), c.ack(ds...)); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	f.CutOff(t)
	f.publish("q", "7") // whatever was not settled comes before
	wantIDs(t, c.collect(2, 2), "6+", "7")
}
