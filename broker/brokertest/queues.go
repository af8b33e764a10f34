package brokertest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
)

func (c *consumer) addQueue(q broker.Queue) {
	c.f.t.Helper()
	if err := c.able.Queues.AddQueue(c.f.context(), q); err != nil {
		c.f.t.Fatalf("AddQueue(%q): %v", q.Name, err)
	}
}

func (c *consumer) cancelQueue(name string) {
	c.f.t.Helper()
	if err := c.able.Queues.CancelQueue(c.f.context(), name); err != nil {
		c.f.t.Fatalf("CancelQueue(%q): %v", name, err)
	}
}

func (c *consumer) wantQueues(names ...string) {
	c.f.t.Helper()
	var got []string
	for _, q := range c.able.Queues.Queues() {
		got = append(got, q.Name)
	}
	if diff := cmp.Diff(names, got); diff != "" {
		c.f.t.Errorf("queues (-want +got):\n%s", diff)
	}
}

func testQueues(t *testing.T, f *fixture) {
	c := f.open("a")
	for _, queue := range []string{"a", "b", "c"} {
		f.publish(queue, queue+"1", queue+"2", queue+"3")
	}
	wantIDs(t, c.claim(1), "a1")
	c.addQueue(broker.Queue{Name: "b"})
	c.addQueue(broker.Queue{Name: "c", Alias: "see"})
	c.addQueue(broker.Queue{Name: "b"})
	c.wantQueues("a", "b", "c")
	ds := c.collect(4, 4)
	wantIDs(t, ds, "a2", "b1", "c1", "a3") // kombu starts its cycle anew
	c.cancelQueue("b")
	c.cancelQueue("nobody's")
	c.wantQueues("a", "c")
	wantIDs(t, c.collect(2, 2), "c2", "c3")
	if lost := c.ack(ds...); len(lost) > 0 {
		t.Errorf("ack of messages from a cancelled queue: lost %v", lost)
	}
	c.cancelQueue("see")
	c.cancelQueue("a")
	c.wantQueues()
	c.addQueue(broker.Queue{Name: "b"})
	wantIDs(t, c.collect(2, 2), "b2", "b3")
	if err := c.able.Queues.AddQueue(f.context(), broker.Queue{}); err == nil {
		t.Error("a queue without a name was added")
	}
}

// Queues change while a claim waits, and while messages come.
func testQueuesWhileClaiming(t *testing.T, f *fixture) {
	c := f.open("first")
	claimed := make(chan broker.Delivery)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 10 {
			claimed <- c.claim(1)[0]
		}
	})
	for i := range 10 {
		queue := fmt.Sprint("q", i)
		if i%2 == 0 {
			f.publish(queue, queue)
			c.addQueue(broker.Queue{Name: queue})
		} else {
			c.addQueue(broker.Queue{Name: queue})
			f.publish(queue, queue)
		}
		wantIDs(t, []broker.Delivery{<-claimed}, queue)
		c.cancelQueue(queue)
	}
	wg.Wait()
	other := f.open("q1", "q2")
	for i := range 10 { // what comes to a cancelled queue is nobody's but the other's
		f.publish("q1", fmt.Sprint(i))
		wantIDs(t, other.claim(1), fmt.Sprint(i))
	}
}

func testExchanges(t *testing.T, f *fixture) {
	c := f.open("plain")
	c.addQueue(broker.Queue{Name: "d", Exchange: "direct", RoutingKey: "key"})
	c.addQueue(broker.Queue{Name: "t", Exchange: "topic", ExchangeType: broker.Topic, RoutingKey: "a.*.#"})
	c.addQueue(broker.Queue{Name: "m", Exchange: "unbound", RoutingKey: "m", Bindings: []broker.Source{
		{Exchange: "direct", RoutingKey: "video"},
		{Exchange: "media", RoutingKey: "video"},
		{Exchange: "topic", ExchangeType: broker.Topic, RoutingKey: "m.#"},
	}})
	publish := func(exchange, key, id string) error {
		return f.Publisher.Publish(f.context(), broker.Publication{Exchange: exchange, RoutingKey: key, Message: Message(id, 0)})
	}
	for _, m := range [][3]string{
		{"direct", "key", "1"},
		{"topic", "a.b.c", "2"},
		{"topic", "a.b.", "3"},
		{"plain", "plain", "4"},
		{"direct", "video", "5"},
		{"media", "video", "6"},
		{"topic", "m.x", "7"},
		{"", "m", "8"},
	} {
		if err := publish(m[0], m[1], m[2]); err != nil {
			t.Fatal(err)
		}
		ds := c.claim(1)
		wantIDs(t, ds, m[2])
		c.requeue(broker.Front, ds...)
		wantIDs(t, c.claim(1), m[2]+"+")
	}
	for _, m := range [][3]string{{"direct", "other", "9"}, {"topic", "b", "9"}, {"nothing", "key", "9"}, {"unbound", "m", "9"}, {"", "", "9"}} {
		if err := publish(m[0], m[1], m[2]); err == nil {
			t.Errorf("exchange %q took %q, which no binding routes", m[0], m[1])
		}
	}
	both := []broker.Publication{
		{RoutingKey: "plain", Message: Message("9", 0)},
		{Exchange: "direct", RoutingKey: "key", Message: Message("10", 0)},
	}
	if err := f.Publisher.Publish(f.context(), both...); err != nil {
		t.Fatal(err)
	}
	got := ids(t, c.collect(2, 2))
	slices.Sort(got)
	if diff := cmp.Diff([]string{"10", "9"}, got); diff != "" {
		t.Errorf("claimed messages (-want +got):\n%s", diff)
	}
}

// Each consumer of a fanout queue gets each message, and can settle it as any other.
func testFanoutQueue(t *testing.T, f *fixture) {
	consumers := []*consumer{f.open("q"), f.open("q")}
	for _, c := range consumers {
		c.addQueue(broker.Queue{Name: "news", Exchange: "ex", ExchangeType: broker.Fanout, Broadcast: true})
	}
	f.broadcastUntil(broker.Publication{Exchange: "ex", Message: Message("hello", 0)}, consumers...)
	if err := f.broadcaster.Broadcast(f.context(), broker.Publication{Exchange: "ex", Message: Message("1", 0)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range consumers {
		ds := c.claim(1)
		for ids(t, ds)[0] == "hello" {
			ds = c.claim(1)
		}
		wantIDs(t, ds, "1")
		if ds[0].Queue != "news" {
			t.Errorf("came from queue %q", ds[0].Queue)
		}
		c.requeue(broker.Back, ds...)
		wantIDs(t, c.claim(1), "1+")
		c.cancelQueue("news")
		c.wantQueues("q")
	}
	if err := f.broadcaster.Broadcast(f.context(), broker.Publication{Exchange: "ex", Message: Message("2", 0)}); err != nil {
		t.Fatal(err)
	}
	f.publish("q", "3")
	wantIDs(t, consumers[0].claim(1), "3")
}

// broadcastUntil sends a message until each consumer has claimed one.
func (f *fixture) broadcastUntil(m broker.Publication, consumers ...*consumer) {
	f.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, c := range consumers {
			c.claim(1)
		}
	}()
	for {
		if err := f.broadcaster.Broadcast(f.context(), m); err != nil {
			f.t.Fatal(err)
		}
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
