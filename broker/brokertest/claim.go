package brokertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
)

func testOrder(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3")
	f.publish("q", "4")
	ds := c.collect(4, 4)
	wantIDs(t, ds, "1", "2", "3", "4")
	seen := map[string]bool{}
	for i, d := range ds {
		if d.Queue != "q" {
			t.Errorf("delivery %d is from queue %q", i, d.Queue)
		}
		wantMessage(t, d.Content, Message(fmt.Sprint(i+1), 0))
		if m := read(t, d.Content); string(m.Exchange) != "" || string(m.RoutingKey) != "q" || m.Priority != 0 {
			t.Errorf("message %d: delivered from exchange %q with routing key %q and priority %d", i, m.Exchange, m.RoutingKey, m.Priority)
		}
		if seen[d.Tag] {
			t.Errorf("tag %q twice", d.Tag)
		}
		seen[d.Tag] = true
	}
	f.wantLeased(4)
}

func testLimit(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1", "2", "3", "4", "5")
	wantIDs(t, c.claim(1), "1")
	wantIDs(t, c.collect(2, 2), "2", "3")
	f.wantLeased(3)
	rest := c.claim(1000000)
	if f.promised.Prefetches && len(rest) == 1 { // the last is on its way
		rest = append(rest, c.claim(1000000)...)
	}
	wantIDs(t, rest, "4", "5")
}

func testPriorities(t *testing.T, f *fixture) {
	c := f.open("a", "b")
	for _, p := range []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0} {
		f.send("a", Message(fmt.Sprint("a", p), p))
	}
	f.send("b", Message("b3", 3), Message("b0", -1), Message("b9", 100))
	wantIDs(t, c.collect(13, 13), "a2", "b0", "a1", "a0", "b3", "a5", "a4", "a3", "a8", "a7", "a6", "b9", "a9")
}

func testRoundRobin(t *testing.T, f *fixture) {
	for _, limit := range []int{1, 2, 3, 4, 100} {
		queues := []string{fmt.Sprint("a", limit), fmt.Sprint("b", limit), fmt.Sprint("c", limit)}
		a, b, d := queues[0], queues[1], queues[2]
		c := f.open(a, b, d)
		f.publish(a, "a1", "a2", "a3", "a4", "a5")
		f.publish(b, "b1", "b2")
		f.publish(d, "c1", "c2", "c3")
		// Kombu's cycle: who delivers goes to the end.
		wantIDs(t, c.collect(6, limit), "a1", "b1", "c1", "a2", "b2", "c2")
		f.publish(b, "b3")
		wantIDs(t, c.collect(5, limit), "a3", "b3", "c3", "a4", "a5")
		f.publish(a, "a6")
		f.publish(b, "b4")
		f.publish(d, "c4")
		wantIDs(t, c.collect(3, limit), "b4", "c4", "a6")
	}
}

// testClaimWithout claims of some queues only, waits for their messages alone, and finds what came
// to the others meanwhile.
func testClaimWithout(t *testing.T, f *fixture) {
	c := f.open("a", "b")
	notA := func(queue string) bool { return queue == "a" }
	f.publish("a", "a1", "a2")
	f.publish("b", "b1")
	without := func(ctx context.Context, limit int) []broker.Delivery {
		ds, err := c.able.Chooser.ClaimWithout(ctx, limit, notA)
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		return ds
	}
	wantIDs(t, without(f.context(), 5), "b1")
	claimed := make(chan []broker.Delivery)
	ctx, cancel := context.WithCancel(f.context())
	go func() { claimed <- without(ctx, 5) }()
	f.publish("a", "a3")
	f.publish("b", "b2")
	wantIDs(t, <-claimed, "b2")
	go func() { claimed <- without(ctx, 5) }()
	f.publish("a", "a4")
	cancel()
	if ds := <-claimed; len(ds) != 0 {
		t.Errorf("claimed %d messages of a queue to do without", len(ds))
	}
	wantIDs(t, c.collect(4, 3), "a1", "a2", "a3", "a4")
}

func testClaimWaits(t *testing.T, f *fixture) {
	c := f.open("a", "b")
	for i, queue := range []string{"b", "a", "a", "b"} {
		claimed := make(chan []broker.Delivery)
		go func() {
			ds, err := c.Claim(f.context(), 5)
			if err != nil {
				t.Errorf("Claim: %v", err)
			}
			claimed <- ds
		}()
		f.send(queue, Message(fmt.Sprint(i), i*3))
		wantIDs(t, <-claimed, fmt.Sprint(i))
	}
}

func testClaimInterrupted(t *testing.T, f *fixture) {
	c := f.open("q")
	const n = 50
	var got []broker.Delivery
	for i := range n {
		ctx, cancel := context.WithCancel(f.context())
		go func() {
			f.send("q", Message(fmt.Sprint(i), 0))
			cancel()
		}()
		ds, err := c.Claim(ctx, 3)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted Claim: %v", err)
		}
		got = append(got, ds...)
		<-ctx.Done()
	}
	got = append(got, c.collect(n-len(got), n)...)
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	wantIDs(t, got, want...)
}

func testBadLimit(t *testing.T, f *fixture) {
	c := f.open("q")
	f.publish("q", "1")
	for _, limit := range []int{0, -1} {
		if ds, err := c.Claim(f.context(), limit); err == nil {
			t.Errorf("Claim(%d) = %v, want an error", limit, ds)
		}
	}
}

// wants says how many messages are to be held, where messages are handed over ahead.
func (c *consumer) wants(n int) {
	if c.able.Prefetcher != nil {
		c.able.Prefetcher.SetPrefetch(n)
	}
}

// A consumer that stopped claiming must not keep from others what comes then.
func testIdleDoesNotHoard(t *testing.T, f *fixture) {
	idle, busy := f.open("q"), f.open("q")
	for i := range 10 {
		ctx, cancel := context.WithCancel(f.context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if ds, err := idle.Claim(ctx, 1); err == nil {
				t.Errorf("a claim of an empty queue returned %v", ds)
			}
		}()
		cancel()
		<-done
		idle.wants(0)
		f.publish("q", fmt.Sprint(i))
		if got := strings.TrimSuffix(ids(t, busy.claim(1))[0], "+"); got != fmt.Sprint(i) { // it may have been on its way to the other
			t.Errorf("claimed %s, want %d", got, i)
		}
		idle.wants(1)
	}
}

func testSharedQueue(t *testing.T, f *fixture) {
	const workers, n = 4, 400
	ctx, cancel := context.WithCancel(f.context())
	defer cancel()
	var mu sync.Mutex
	got := map[string]int{}
	var wg sync.WaitGroup
	for w := range workers {
		c := f.open("q")
		wg.Go(func() {
			for {
				ds, err := c.Claim(ctx, 1+w*3)
				if err != nil {
					return
				}
				for i, id := range ids(t, ds) {
					mu.Lock()
					got[id]++
					if len(got) == n {
						cancel()
					}
					mu.Unlock()
					if lost, err := c.Ack(f.context(), ds[i].Tag); len(lost) > 0 || err != nil {
						t.Errorf("Ack of %s: lost %v, error %v", id, lost, err)
					}
				}
			}
		})
	}
	want := map[string]int{}
	for i := range n {
		id := fmt.Sprint(i)
		want[id] = 1
		f.send("q", Message(id, i%10))
	}
	wg.Wait()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deliveries per message (-want +got):\n%s", diff)
	}
	f.wantLeased(0)
}
