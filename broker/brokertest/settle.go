package brokertest

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

func testAck(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3", "4")
	ds := c.collect(4, 4)
	if lost := c.ack(ds[0]); len(lost) > 0 {
		t.Errorf("first ack lost %v", lost)
	}
	f.wantLeased(3)
	want := []string{ds[0].Tag, "nobody's"}
	lost, err := c.Ack(f.context(), ds[0].Tag, ds[1].Tag, "nobody's", ds[2].Tag)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, lost); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	f.wantLeased(1)
	if lost := c.ack(); len(lost) > 0 {
		t.Errorf("ack of nothing lost %v", lost)
	}
}

// testReturn takes acknowledgements back: the messages are served as if nobody had taken them.
func testReturn(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3", "4")
	ds := c.collect(3, 3)
	if lost := c.ack(ds...); len(lost) > 0 {
		t.Fatalf("lost %v", lost)
	}
	if err := c.able.Returner.Return(f.context(), ds[1:]...); err != nil {
		t.Fatal(err)
	}
	f.wantLeased(0)
	again := c.collect(3, 3)
	wantIDs(t, again, "2", "3", "4")
	if string(again[0].Text()) != string(ds[1].Text()) {
		t.Errorf("returned: %s, want %s", again[0].Text(), ds[1].Text())
	}
}

// testHold holds messages again that were acknowledged: they can be acknowledged and given back as before.
func testHold(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3", "4")
	ds := c.collect(4, 4)
	if lost := c.ack(ds[1:]...); len(lost) > 0 {
		t.Fatalf("lost %v", lost)
	}
	f.wantLeased(1)
	if err := c.able.Returner.Hold(f.context(), ds[1:3]...); err != nil {
		t.Fatal(err)
	}
	f.wantLeased(3)
	if lost := c.ack(ds[0], ds[1]); len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
	c.requeue(broker.Front, ds[2])
	f.wantLeased(0)
	again := c.claim(1)
	wantIDs(t, again, "3+")
	if again[0].Queue != "q" {
		t.Errorf("it came from %q", again[0].Queue)
	}
}

// testBypass passes messages to a consumer that waits: nobody else knows of them, and they can be returned as if they
// had been published.
func testBypass(t *testing.T, f *fixture) {
	c := f.open("q", "other")
	bypasser := c.able.Bypassers.Bypasser(f.Publisher)
	m := Message("passed", 3)
	m.Properties.Others = []byte(`{"colour": "blue"}`)
	passed := broker.Publication{RoutingKey: "q", Message: m}
	if _, ok := bypasser.Bypass(&passed); ok {
		t.Error("a message was taken while no Claim waits")
	}
	claimed := make(chan []broker.Delivery)
	go func() { claimed <- c.claim(1) }()
	ctx := f.context()
	d, taken := bypasser.Bypass(&passed)
	for !taken {
		select {
		case <-time.After(time.Millisecond):
			d, taken = bypasser.Bypass(&passed)
		case <-ctx.Done():
			t.Fatal("no message was taken")
		}
	}
	for what, m := range map[string]*broker.Publication{
		"to a queue that is not consumed": {RoutingKey: "elsewhere", Message: m},
		"to an exchange without a queue":  {Exchange: "nowhere", RoutingKey: "q", Message: m},
		"to all":                          {ExchangeType: broker.Fanout, Exchange: "q", RoutingKey: "q", Message: m},
	} {
		if _, ok := bypasser.Bypass(m); ok {
			t.Errorf("a message was taken that goes %s", what)
		}
	}
	f.wantLeased(0)
	read := func(d broker.Delivery) *protocol.Received {
		r := read(t, d.Content)
		if len(r.DeliveryTag) > 0 {
			r.DeliveryTag = []byte("tag")
			r.Properties = regexp.MustCompile(`[0-9a-f-]{36}`).ReplaceAll(r.Properties, []byte("tag"))
		}
		body, err := r.Message()
		if err != nil {
			t.Error(err)
		}
		r.Body, r.Unwrap = body.Body, nil
		return r
	}
	f.send("q", m)
	published := (<-claimed)[0]
	same := cmp.AllowUnexported(protocol.Headers{})
	if diff := cmp.Diff(read(published), read(d), same); diff != "" || d.Queue != published.Queue {
		t.Errorf("passed to %s (-as it is claimed +as it is passed):\n%s", d.Queue, diff)
	}
	c.ack(published)
	if err := c.able.Returner.Return(f.context(), d); err != nil {
		t.Fatal(err)
	}
	returned := c.claim(1)[0]
	if diff := cmp.Diff(read(published), read(returned), same); diff != "" {
		t.Errorf("returned (-published +returned):\n%s", diff)
	}
	f.wantLeased(1)
}

func testRequeueFront(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3", "4")
	ds := c.collect(3, 3)
	c.requeue(broker.Front, ds...)
	f.wantLeased(0)
	again := c.collect(4, 4)
	if f.promised.Prefetches { // the last was handed over before the others came back, or not
		place := slices.IndexFunc(again, func(d broker.Delivery) bool { return ids(t, []broker.Delivery{d})[0] == "4" })
		if place < 0 {
			t.Fatalf("claimed %v", ids(t, again))
		}
		last := again[place]
		again = append(slices.Delete(again, place, place+1), last)
	}
	wantIDs(t, again, "1+", "2+", "3+", "4")
	if lost := c.ack(ds...); len(lost) != 3 {
		t.Errorf("ack after requeue: lost %v, want all", lost)
	}
}

// testUnclaim gives back what nobody has run: nothing of it changes.
func testUnclaim(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3")
	ds := c.collect(2, 2)
	if err := c.able.Unclaimer.Unclaim(f.context(), ds...); err != nil {
		t.Fatal(err)
	}
	f.wantLeased(0)
	again := c.collect(3, 3)
	wantIDs(t, again, "1", "2", "3")
	if string(again[0].Text()) != string(ds[0].Text()) {
		t.Errorf("given back: %s, want %s", again[0].Text(), ds[0].Text())
	}
}

func testRequeueBack(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3")
	c.requeue(broker.Back, c.collect(2, 2)...)
	wantIDs(t, c.collect(3, 3), "3", "1+", "2+")
}

func testRequeuePriority(t *testing.T, f *fixture) {
	c := f.open("q")
	f.send("q", Message("low", 9), Message("middle", 5), Message("other", 4))
	ds := c.collect(3, 3)
	c.requeue(broker.Front, ds...)
	f.send("q", Message("high", 0))
	wantIDs(t, c.collect(4, 4), "high", "middle+", "other+", "low+")
}

func testLostLease(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3")
	ds := c.collect(3, 3)
	f.TakeAway(t, ds[1].Tag)
	lost, err := c.Extend(f.context(), tags(ds)...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{ds[1].Tag}, lost); diff != "" {
		t.Errorf("Extend: lost (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{ds[1].Tag}, c.ack(ds[:2]...)); diff != "" {
		t.Errorf("Ack: lost (-want +got):\n%s", diff)
	}
	again := c.claim(3)
	wantIDs(t, again, "2+")
	c.requeue(broker.Front, ds[1]) // not ours any more: nothing happens
	f.wantLeased(2)
	if lost := c.ack(again[0], ds[2]); len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
	f.wantLeased(0)
}

// Whatever is in a queue is delivered as it is, and can be settled.
func testUndecodable(t *testing.T, f *fixture) {
	c := f.open("q")
	bad := Message("bad", 0)
	bad.Headers = []byte(`{"a": `)
	var refused *broker.RefusedError
	if err := f.Publisher.Publish(f.context(), publications("q", bad)...); !errors.As(err, &refused) {
		t.Errorf("publishing headers that are no JSON: %v", err)
	}
	f.publish("q", "1")
	wantIDs(t, c.claim(1), "1")
}

func testClose(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1")
	ds := c.claim(1)
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	held := 1
	if f.promised.Connected {
		held = 0
	}
	f.wantLeased(held)
	_, errClaim := c.Claim(f.context(), 1)
	_, errAck := c.Ack(f.context(), ds[0].Tag)
	_, errExtend := c.Extend(f.context(), ds[0].Tag)
	errRequeue := c.Requeue(f.context(), broker.Front, ds[0])
	for method, err := range map[string]error{"Claim": errClaim, "Ack": errAck, "Extend": errExtend, "Requeue": errRequeue} {
		if !errors.Is(err, broker.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", method, err)
		}
	}
	if err := f.Publisher.Close(); err != nil {
		t.Errorf("Publisher.Close: %v", err)
	}
	if err := f.Publisher.Publish(f.context(), publications("q", Message("2", 0))...); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Publish after Close: %v, want ErrClosed", err)
	}
}

func testCloseWakesClaim(t *testing.T, f *fixture) {
	c := f.open("q")
	result := make(chan error)
	started := make(chan struct{})
	go func() {
		close(started)
		_, err := c.Claim(context.Background(), 1)
		result <- err
	}()
	<-started
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-result; !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Claim during Close: %v, want ErrClosed", err)
	}
	other := f.open("q")
	f.publish("q", "1")
	wantIDs(t, other.claim(1), "1")
}
