package redisbroker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
)

func registered(t *testing.T, s *server, id string) (reg struct {
	Queues, Private []string
},
) {
	t.Helper()
	text, _ := s.Do(t, "HGET", "apium.workers", id).([]byte)
	if err := json.Unmarshal(text, &reg); err != nil {
		t.Fatalf("registration %q: %v", text, err)
	}
	return reg
}

// The registration lists the queues that are consumed, and in the end no other.
func TestQueuesAreRegistered(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("a")})
	go func() { _, _ = c.Claim(t.Context(), 1) }() // so that waiters block; ends with the test
	for i := range 12 {
		if err := c.AddQueue(t.Context(), broker.Queue{Name: fmt.Sprint("q", i), Alias: fmt.Sprint("alias", i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 11 {
		if err := c.CancelQueue(t.Context(), fmt.Sprint("alias", i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "two queues are registered", func() bool {
		return cmp.Equal(registered(t, s, c.ID()).Queues, []string{"a", "q11"})
	})
	for _, set := range []string{"_kombu.binding.q0", "_kombu.binding_permanent.q0"} {
		if diff := cmp.Diff([]string{"q0\x06\x16\x06\x16q0"}, s.strings(t, "SMEMBERS", set)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", set, diff)
		}
	}
}

// A claim that waits learns of a new queue at once.
func TestAddQueueWakesClaim(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("a"), PollingInterval: time.Minute})
	claimed := make(chan []broker.Delivery)
	go func() {
		ds, err := c.Claim(t.Context(), 1)
		if err != nil {
			t.Errorf("Claim: %v", err)
		}
		claimed <- ds
	}()
	eventually(t, "the waiters block", func() bool {
		return strings.Count(fmt.Sprintf("%s", s.Do(t, "CLIENT", "LIST")), "cmd=brpoplpush") == 1
	})
	s.Do(t, "LPUSH", "b", envelopetest.New("b", "1", 0))
	if err := c.AddQueue(t.Context(), broker.Queue{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	select {
	case ds := <-claimed:
		if len(ds) != 1 || ds[0].Queue != "b" {
			t.Errorf("claimed %+v", ds)
		}
	case <-time.After(time.Minute):
		t.Error("the claim was not woken")
	}
}

// Workers that change their queues and are killed lose nothing.
func TestKilledWhileQueuesChange(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	queues := []string{"q", "x", "y", "z"}
	sent := 0
	for range 6 {
		worker := s.startChild(t, modeChange)
		before := s.int(t, "SCARD", "done")
		for range 100 {
			queue := queues[sent%len(queues)]
			s.Do(t, "LPUSH", queue, envelopetest.New(queue, fmt.Sprint(sent), 0))
			sent++
		}
		eventually(t, "the worker works", func() bool { return s.int(t, "SCARD", "done") > before })
		_ = worker.Process.Kill()
		_ = worker.Wait()
	}
	c := s.open(t, redisbroker.Config{Queues: broker.Named(queues...)})
	for s.int(t, "SCARD", "done") < sent {
		ds, err := c.Claim(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range ids(t, ds) {
			s.Do(t, "SADD", "done", id)
			if _, err := c.Ack(t.Context(), ds[i].Tag); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "nothing is held", func() bool { return s.int(t, "HLEN", "unacked") == 0 })
	if inboxes := s.strings(t, "KEYS", "apium.inbox.*"); len(inboxes) > 0 {
		t.Errorf("inboxes left: %q", inboxes)
	}
}

// Added and cancelled queues stay so when Redis comes back empty-handed.
func TestQueuesOutliveOutages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("a", "b")})
	if err := c.AddQueue(t.Context(), broker.Queue{Name: "added"}); err != nil {
		t.Fatal(err)
	}
	if err := c.CancelQueue(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.AddQueue(ctx, broker.Queue{Name: "never"}); err == nil {
		t.Error("a queue was declared on a server that is away")
	}
	s.Restart(t)
	s.Do(t, "LPUSH", "b", envelopetest.New("b", "cancelled", 0))
	s.Do(t, "LPUSH", "never", envelopetest.New("b", "never", 0))
	s.Do(t, "LPUSH", "added", envelopetest.New("added", "1", 0))
	ds, err := c.Claim(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(t, ds); len(got) != 1 || got[0] != "1" {
		t.Errorf("claimed %v", got)
	}
}

func fanout(name string) broker.Queue {
	return broker.Queue{Name: name, Exchange: "ex", ExchangeType: broker.Fanout, RoutingKey: "k", Broadcast: true}
}

// subscribers counts who hears channels of the exchange ex.
func subscribers(t *testing.T, s *server) int {
	t.Helper()
	return s.int(t, "PUBSUB", "NUMPAT")
}

// A fanout queue leaves nothing behind, whether its worker closes or dies.
func TestFanoutQueueGoes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	if err := c.AddQueue(t.Context(), fanout("news")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the subscription is on", func() bool { return subscribers(t, s) == 1 })
	if diff := cmp.Diff([]string{"k\x06\x16\x06\x16news"}, s.strings(t, "SMEMBERS", "_kombu.binding.ex")); diff != "" {
		t.Errorf("binding (-want +got):\n%s", diff)
	}
	s.Do(t, "PUBLISH", "/0.ex/k", "garbage")
	for i := range 3 {
		s.Do(t, "PUBLISH", "/0.ex/k", envelopetest.New("ex", fmt.Sprint(i), i*3))
	}
	ds, err := c.Claim(t.Context(), 1)
	if err != nil || ds[0].Queue != "news" || ids(t, ds)[0] != "0" {
		t.Fatalf("Claim: %+v, %v", ds, err)
	}
	list := "apium.fanout." + c.ID() + ".news"
	eventually(t, "the others wait", func() bool {
		return s.int(t, "LLEN", list+"\x06\x163")+s.int(t, "LLEN", list+"\x06\x166") == 2
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if n := s.int(t, "EXISTS", "_kombu.binding.ex", "_kombu.binding_permanent.ex"); n != 0 {
		t.Error("the binding is still there")
	}
	s.Do(t, "SETEX", "apium.alive."+c.ID(), 1, "1") // as if it had died with one held, and one in the list
	other := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	eventually(t, "the worker is buried", func() bool { return s.int(t, "HLEN", "apium.workers") == 1 })
	if keys := s.strings(t, "KEYS", "apium.fanout.*"); len(keys) > 0 {
		t.Errorf("lists left: %q", keys)
	}
	if n := s.int(t, "HLEN", "unacked"); n != 0 {
		t.Errorf("%d messages of a dead worker's queue left", n)
	}
	// Nor does what was parked come back to a list that nobody reads.
	tag, record := "apium.parked:x:1", fmt.Sprintf(`[%s,"",%q]`, envelopetest.New("q", "p", 0), list)
	s.Do(t, "HSET", "unacked", tag, record)
	s.Do(t, "ZADD", "unacked_index", 1, tag)
	if err := other.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.int(t, "EXISTS", "unacked", list); n != 0 {
		t.Error("a parked message of a dead worker's queue is left")
	}
}

// The subscription comes back after an outage, and after a silence.
func TestFanoutReconnects(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: []broker.Queue{fanout("news")}})
	for i := range 3 {
		eventually(t, "the subscription is on", func() bool { return subscribers(t, s) == 1 })
		s.Do(t, "PUBLISH", "/0.ex/k", envelopetest.New("ex", fmt.Sprint(i), 0))
		ds, err := c.Claim(t.Context(), 1)
		if err != nil || ids(t, ds)[0] != fmt.Sprint(i) {
			t.Fatalf("Claim: %v, %v", ds, err)
		}
		switch i {
		case 0:
			s.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
		case 1:
			s.Stop()
			s.Restart(t)
		}
	}
}

func TestSubscriptionState(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{
		URL: s.URL(0), GlobalKeyprefix: "pfx:", FanoutPrefix: "/db{db}.", Sep: "|",
	})
	if err != nil {
		t.Fatal(err)
	}
	states, heard := make(chan bool, 10), make(chan string, 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := p.Subscribe(context.Background(), broker.Subscription{
			Exchange: "celeryev", BindingKey: "worker.#", Queue: "celeryev.1",
			Handle:  func(key string, _ broker.Content) { heard <- key },
			OnState: func(subscribed bool, err error) { states <- subscribed && err == nil },
		})
		if err != broker.ErrClosed { //nolint:errorlint // exactly this one
			t.Errorf("Subscribe after Close: %v", err)
		}
	})
	if !<-states {
		t.Fatal("not subscribed")
	}
	if diff := cmp.Diff([]string{"worker.#||celeryev.1"}, s.strings(t, "SMEMBERS", "pfx:_kombu.binding.celeryev")); diff != "" {
		t.Errorf("binding (-want +got):\n%s", diff)
	}
	s.Do(t, "PUBLISH", "pfx:/db0.celeryev/worker.heartbeat", "{}")
	if key := <-heard; key != "worker.heartbeat" {
		t.Errorf("heard %q", key)
	}
	s.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
	if <-states {
		t.Error("the loss of the connection was not told")
	}
	if !<-states {
		t.Error("the new connection was not told")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// A user of the server who may not use channels: a broadcast is refused at once, and who
// listens is told why, hears when the right is there, and is not asked all the time.
func TestForbiddenChannels(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Do(t, "ACL", "SETUSER", "mute", "on", ">pw", "~*", "+@all", "resetchannels")
	p, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: "redis://mute:pw@" + s.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	message := brokertest.Message("3a3b3c3d-0000-1111-2222-333344445555", 0)
	var refused *broker.RefusedError
	err = p.Broadcast(t.Context(), broker.Publication{Exchange: "celeryev", RoutingKey: "worker.online", Message: message})
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "ACL SETUSER <user> &*") {
		t.Errorf("Broadcast: %v", err)
	}

	states := make(chan error, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = p.Subscribe(context.Background(), broker.Subscription{
			Exchange: "celeryev", Handle: func(string, broker.Content) {}, OnState: func(_ bool, err error) { states <- err },
		})
	})
	if err := <-states; err == nil || !strings.Contains(err.Error(), "ACL SETUSER <user> &*") {
		t.Errorf("Subscribe: %v", err)
	}
	s.Do(t, "ACL", "SETUSER", "mute", "&*")
	for err := range states {
		if err == nil {
			break
		}
	}
	p.Close()
	wg.Wait()
}

// Who listens may choose some of the messages, and all again: what is heard while that changes is heard once.
func TestChoice(t *testing.T) {
	t.Parallel()
	for _, right := range []string{"+subscribe", "-subscribe", "-punsubscribe"} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			testChoice(t, right, right[0] == '+')
		})
	}
}

func testChoice(t *testing.T, right string, allowed bool) {
	s := newServer(t)
	s.Do(t, "ACL", "SETUSER", "w", "on", ">pw", "~*", "&*", "+@all", right)
	p, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: "redis://w:pw@" + s.Addr(), GlobalKeyprefix: "pfx:"})
	if err != nil {
		t.Fatal(err)
	}
	only, heard := make(chan []string), make(chan string, 1000)
	var lost atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = p.Subscribe(context.Background(), broker.Subscription{
			Exchange: "celeryev", BindingKey: "worker.#", Queue: "celeryev.1", Only: only,
			Handle: func(key string, _ broker.Content) { heard <- key },
			OnState: func(subscribed bool, _ error) {
				if !subscribed {
					lost.Add(1)
				}
			},
		})
	})
	listeners := func(key string) int {
		return s.int(t, "PUBLISH", "pfx:/0.celeryev/worker."+key, "{}")
	}
	eventually(t, "all are heard", func() bool { return listeners("heartbeat") == 1 })
	connected := func() string { // by the ids of connections
		var ids []string
		for line := range lines(strings.ReplaceAll(s.text(t, "CLIENT", "LIST", "TYPE", "pubsub"), "\n", "\r\n")) {
			id, _, _ := strings.Cut(line, " ")
			ids = append(ids, id)
		}
		return strings.Join(ids, "")
	}
	before := connected()
	only <- []string{"worker.online", "worker.offline"}
	if allowed {
		eventually(t, "heartbeats are not", func() bool { return listeners("heartbeat") == 0 })
	} else {
		eventually(t, "it listens to all again", func() bool {
			after := connected()
			return strings.Count(after, "id=") == 1 && after != before
		})
	}
	eventually(t, "it hears who comes", func() bool { return listeners("online") == 1 })
	listeners("offline")
	listeners("online")
	for key := <-heard; key != "worker.offline"; key = <-heard {
	}
	if key := <-heard; key != "worker.online" {
		t.Errorf("heard %q after a message that was sent once", key)
	}
	if n := lost.Load(); n > 0 {
		t.Errorf("the connection was said to be lost %d times", n)
	}
	s.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
	want := 1
	if allowed {
		want = 0
	}
	eventually(t, "it listens again, to the same", func() bool { return listeners("online") == 1 && listeners("heartbeat") == want })
	only <- nil
	eventually(t, "all are heard", func() bool { return listeners("heartbeat") == 1 && listeners("online") == 1 })
	p.Close()
	wg.Wait()
}
