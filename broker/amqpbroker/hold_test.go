package amqpbroker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbittest"
)

// ofBothTypes runs a test with a classic and a quorum queue named q.
func ofBothTypes(t *testing.T, test func(t *testing.T, q broker.Queue)) {
	t.Helper()
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			q := broker.Queue{Name: "q"}
			q.Declaration.SetArgument("x-queue-type", kind)
			test(t, q)
		})
	}
}

// empty waits until no queue has a message, and tells which there are.
func (s *site) empty(v *rabbittest.VHost) {
	s.t.Helper()
	s.await("the end of all messages", func() bool {
		n := 0
		for _, q := range v.Queues(s.t) {
			n += q.Ready + q.Unacked
		}
		return n == 0
	})
}

// A task that runs for longer than consumer_timeout is nobody else's, and its channel stays open. A machine that stands
// still for half of the timeout is given a longer one.
func TestRunsBeyondConsumerTimeout(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t)
	for timeout := 3 * time.Second; ; timeout *= 3 {
		server.ConsumerTimeout(t, timeout)
		held := true
		for _, kind := range []string{"classic", "quorum"} {
			held = held && runsBeyond(t, server.VHost(t), kind, timeout)
		}
		if held {
			return
		}
		if timeout > 20*time.Second {
			t.Fatal("the channel was closed each time")
		}
	}
}

// runsBeyond reports false if the channel was closed.
func runsBeyond(t *testing.T, vhost *rabbittest.VHost, kind string, timeout time.Duration) bool {
	t.Helper()
	s, q := newSite(t, vhost.URL()), broker.Queue{Name: "q"}
	q.Declaration.SetArgument("x-queue-type", kind)
	s.timeout = timeout
	c := s.open(q)
	s.publish("q", "runs", "waits")
	ds := s.want(c, "runs", "waits")
	if !c.Begin(ds[0].Tag) {
		t.Fatal("it is lost")
	}
	// A copy is made of what has been held for half of the timeout: with the third one that is one and a half.
	closed := func() bool { return strings.Contains(s.log.String(), "PRECONDITION") }
	copies := map[string]bool{}
	s.await("the third copy", func() bool {
		if id := c.heldAs(ds[0].Tag); id != "" {
			copies[id] = true
		}
		return len(copies) > 2 || closed()
	})
	if closed() {
		_ = c.Close()
		return false
	}
	if lost, err := c.Extend(s.context(), ds[0].Tag, ds[1].Tag); err != nil || len(lost) != 1 || lost[0] != ds[1].Tag {
		t.Errorf("%s: lost: %v, %v", kind, lost, err)
	}
	s.ack(c, ds[0])
	again, ids := s.claim(c, 1)
	if ids[0] != "waits" {
		t.Errorf("%s: what came again is %q", kind, ids[0])
	}
	s.ack(c, again...)
	s.empty(vhost)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for name := range vhost.Queues(t) {
		if strings.HasPrefix(name, holdPrefix) {
			t.Errorf("%s: %s is left", kind, name)
		}
	}
	return !closed()
}

// heldAs is the id of the copy that is held in place of a delivery; "": none is.
func (c *Consumer) heldAs(tag string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.orphans.find(tag); o != nil && o.heir != nil {
		return o.heir.held
	}
	return ""
}

// dies ends a consumer as the death of its process does.
func (c *Consumer) dies() {
	c.closed.Store(true)
	c.cancel()
	_ = c.holder.Current().Close()
	_ = c.Close()
}

// A copy that the broker has no time to deliver goes back to the queue: it is the copy nonetheless, also if its task has ended by then.
func TestCopiesThatComeBack(t *testing.T) {
	t.Parallel()
	ofBothTypes(t, func(t *testing.T, q broker.Queue) {
		vhost := rabbittest.New(t)
		s := newSite(t, vhost.URL())
		c := s.open(q)
		s.publish("q", "ends", "runs on")
		ds := s.want(c, "ends", "runs on")
		if !c.Begin(ds[1].Tag) {
			t.Fatal("it is lost")
		}
		s.between(c, ds[0])
		s.ack(c, ds[0])
		if err := c.Started(s.context(), ds[1].Tag); err != nil {
			t.Errorf("it is not held: %v", err)
		}
		if c.heldAs(ds[1].Tag) == "" {
			t.Error("nothing is held in its place")
		}
		s.ack(c, ds[1])
		s.empty(vhost)
	})
}

// holdsInVain has copies held in a queue that nobody consumes, unlike their notes.
func (c *Consumer) holdsInVain(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	s := c.sources.all[0]
	h := &holding{link: c.link, name: holdPrefix + "in vain", sub: &subscription{}}
	h.noted = &subscription{source: s, link: c.link, tag: "notes in vain", holding: h, credit: maxPrefetch, ended: make(chan struct{})}
	args := c.holdArguments(s)
	s.holding = h
	c.mu.Unlock()
	err := c.elsewhere.do(t.Context(), func(ch *amqp.Channel) error { return h.declare(ch, args) })
	if err == nil {
		err = c.consume(h.noted, h.notes())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// How often a worker has died of a message is counted, not how often one that held it did. What it gives back itself is
// none of its deaths.
func TestCountsDeaths(t *testing.T) {
	t.Parallel()
	ofBothTypes(t, func(t *testing.T, q broker.Queue) {
		vhost := rabbittest.New(t)
		s := newSite(t, vhost.URL())
		q.Exchange, q.RoutingKey = "e", "k"
		s.open(q).Close()
		s.publish("q", "kills", "neighbor")
		for i, step := range []struct {
			start bool
			end   string
			want  [2]int // redeliveries then
		}{
			{true, "dies", [2]int{0, 0}},
			{true, "dies", [2]int{1, 1}},
			{false, "dies", [2]int{2, 1}},
			{true, "gives back", [2]int{2, 1}},
			{true, "dies", [2]int{2, 1}},
			{true, "ends", [2]int{3, 1}},
		} {
			c := s.open(q)
			ds, ids := s.claim(c, 2)
			if ids[0] == "neighbor" {
				ds[0], ds[1] = ds[1], ds[0]
			}
			if got := [2]int{ds[0].Redeliveries, ds[1].Redeliveries}; got != step.want {
				t.Errorf("step %d: %v redeliveries, want %v", i, got, step.want)
			}
			if step.start {
				if !c.Begin(ds[0].Tag) {
					t.Fatal("it is lost")
				}
				if ds[0].Redeliveries > 0 {
					if err := c.Started(s.context(), ds[0].Tag); err != nil {
						t.Fatal(err)
					}
					s.settled(c) // an acknowledgement that dies with its worker would leave the message beside its copy
				}
			}
			switch step.end {
			case "dies":
				c.dies()
			case "gives back":
				if err := c.Requeue(s.context(), broker.Back, ds...); err != nil {
					t.Fatal(err)
				}
				c.Close()
			default:
				s.ack(c, ds...)
			}
		}
		s.empty(vhost)
	})
}

// settled waits until the broker has seen all that was acknowledged: it answers what comes after on the same channel.
func (s *site) settled(c *Consumer) {
	s.t.Helper()
	c.mu.Lock()
	ch := c.link.ch
	c.mu.Unlock()
	if err := ch.ExchangeDeclarePassive("amq.direct", amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
		s.t.Fatal(err)
	}
}

// What is held in place of a message that runs is joined to its task, as the message would be, when the connection is lost.
func TestJoinsWhatIsHeld(t *testing.T) {
	t.Parallel()
	ofBothTypes(t, func(t *testing.T, q broker.Queue) {
		vhost := rabbittest.New(t)
		s := newSite(t, vhost.URL())
		c := s.open(q)
		s.publish("q", "1", "2")
		ds := s.want(c, "1", "2")
		for _, d := range ds {
			c.Begin(d.Tag)
		}
		if err := c.Started(s.context(), ds[0].Tag, ds[1].Tag); err != nil {
			t.Fatal(err)
		}
		conn := c.holder.Current()
		_ = conn.Close()
		s.await("the loss", func() bool { return c.holder.Current() != conn && c.Connected() })
		s.ack(c, ds[0])
		s.await("both come again", func() bool { return s.log.Count("it runs here already") >= 2 })
		s.ack(c, ds[1])
		s.empty(vhost)
		s.publish("q", "3")
		s.ack(c, s.want(c, "3")...)
	})
}

// A user who may not declare queues is told once, and runs tasks as before.
func TestMayNotHold(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	onChannel(t, vhost.URL(), func(ch *amqp.Channel) error { return declareQueue(ch, broker.Queue{Name: "q"}) })
	s := newSite(t, vhost.User(t, "runner", "^$", ".*", ".*"))
	c := s.open(broker.Queue{Name: "q"})
	s.publish("q", "1", "2")
	ds := s.want(c, "1", "2")
	for i, d := range ds {
		c.Begin(d.Tag)
		if err := c.Started(s.context(), d.Tag); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if n := s.log.Count("is not counted"); n != 1 {
		t.Errorf("told %d times:\n%s", n, s.log.String())
	}
	s.ack(c, ds...)
	s.empty(vhost)
	if n := len(vhost.Queues(t)); n != 1 {
		t.Errorf("%d queues: %s", n, fmt.Sprint(vhost.Queues(t)))
	}
}

// A broker that takes nothing for a while does not have a death uncounted: what runs is held as soon as it can be.
func TestHoldsLater(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t)
	s := newSite(t, server.VHost(t).URL())
	c := s.open(broker.Queue{Name: "q"})
	s.publish("q", "1")
	ds := s.want(c, "1")
	c.Begin(ds[0].Tag)
	server.Alarm(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := c.Started(ctx, ds[0].Tag); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it was not waited for: %v", err)
	}
	s.await("it is found out that nothing can be held now", func() bool { return s.log.Count("cannot be held in a queue of the worker's own now") > 0 })
	server.Calm(t)
	s.await("it is held", func() bool { return c.heldAs(ds[0].Tag) != "" })
	s.ack(c, ds...)
}

// A user who may not publish to queues is told so once, in RabbitMQ's words.
func TestMayNotPublishWhatIsHeld(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	onChannel(t, s.url, func(ch *amqp.Channel) error { return declareQueue(ch, broker.Queue{Name: "q"}) })
	s.publish("q", "1", "2")
	poor := newSite(t, vhost.User(t, "poor", ".*", "^(q|e|apium.*)$", ".*"))
	c := poor.open(broker.Queue{Name: "q"})
	ds := poor.want(c, "1", "2")
	for i, d := range ds {
		c.Begin(d.Tag)
		if err := c.Started(poor.context(), d.Tag); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if n := poor.log.Count("is not counted"); n != 1 {
		t.Errorf("told %d times:\n%s", n, poor.log.String())
	}
	poor.ack(c, ds...)
}

// A copy that is given back where nothing can be published goes to the queue for copies, and comes again from there.
func TestGivesBackACopy(t *testing.T) {
	t.Parallel()
	ofBothTypes(t, func(t *testing.T, q broker.Queue) {
		vhost := rabbittest.New(t)
		s := newSite(t, vhost.URL())
		c := s.open(q)
		c.cfg.holdTTL = time.Hour
		s.publish("q", "1")
		ds := s.want(c, "1")
		c.Begin(ds[0].Tag)
		if err := c.Started(s.context(), ds[0].Tag); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		_, heir := c.orphans.settle(ds[0].Tag, false)
		c.mu.Unlock()
		c.settle(nil, nil, []*delivery{heir})
		s.ack(c, s.want(c, "1")...)
		s.empty(vhost)
	})
}

// What has not begun when its connection is lost does not begin, though a copy is held in place of it.
func TestBeginsNoLostCopy(t *testing.T) {
	t.Parallel()
	ofBothTypes(t, func(t *testing.T, q broker.Queue) {
		s := newSite(t, rabbittest.New(t).URL())
		c := s.open(q)
		c.cfg.holdTTL = time.Hour
		s.publish("q", "1")
		ds := s.want(c, "1")
		if err := c.Started(s.context(), ds[0].Tag); err != nil {
			t.Fatal(err)
		}
		s.settled(c)
		conn := c.holder.Current()
		_ = conn.Close()
		s.await("the loss", func() bool { return c.holder.Current() != conn && c.Connected() })
		if c.Begin(ds[0].Tag) {
			t.Error("it begins")
		}
		if c.orphans.any() {
			t.Error("it is still waited for")
		}
	})
}
