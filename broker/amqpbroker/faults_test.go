package amqpbroker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logtest"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/internal/rabbittest"
)

// site is a virtual host with a client of its own, that knows of no task.
type site struct {
	t   *testing.T
	url string
	log logtest.Buffer

	timeout time.Duration // ConsumerTimeout
}

func newSite(t *testing.T, url string) *site { return &site{t: t, url: url} }

func (s *site) publish(queue string, ids ...string) {
	s.t.Helper()
	var again []string
	onChannel(s.t, s.url, func(ch *amqp.Channel) error {
		for _, id := range ids {
			confirmed, err := ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{
				CorrelationId: id, DeliveryMode: amqp.Persistent, Headers: amqp.Table{"task": "t", "id": id}, Body: []byte("[[], {}, {}]"),
				ContentType: "application/json", ContentEncoding: "utf-8",
			})
			if err != nil {
				return err
			}
			if !confirmed.Wait() { // a quorum queue has no leader yet, say
				again = append(again, id)
			}
		}
		return nil
	})
	if len(again) > 0 {
		s.publish(queue, again...)
	}
}

func (s *site) open(queues ...broker.Queue) *Consumer {
	s.t.Helper()
	c, err := s.tryOpen(queues...)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) tryOpen(queues ...broker.Queue) (*Consumer, error) {
	c, err := Open(s.context(), Config{
		URL: s.url, Queues: queues, Logger: slog.New(slog.NewTextHandler(&s.log, nil)), ConsumerTimeout: s.timeout,
		look: 100 * time.Millisecond, holdTTL: 500 * time.Millisecond,
	})
	if err == nil {
		s.t.Cleanup(func() {
			if err := c.Close(); err != nil {
				s.t.Errorf("Close: %v", err)
			}
		})
	}
	return c, err
}

func (s *site) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	s.t.Cleanup(cancel)
	return ctx
}

// claim claims n messages, and returns their ids.
func (s *site) claim(c *Consumer, n int) (ds []broker.Delivery, ids []string) {
	s.t.Helper()
	for len(ds) < n {
		some, err := c.Claim(s.context(), n-len(ds))
		if err != nil {
			s.t.Fatalf("Claim: %v", err)
		}
		for _, d := range some {
			tag := d.Tag
			c.mu.Lock()
			ids = append(ids, c.find(tag).CorrelationId)
			c.mu.Unlock()
		}
		ds = append(ds, some...)
	}
	return ds, ids
}

func (s *site) want(c *Consumer, ids ...string) []broker.Delivery {
	s.t.Helper()
	ds, got := s.claim(c, len(ids))
	if !slices.Equal(got, ids) {
		s.t.Errorf("claimed %q, want %q", got, ids)
	}
	return ds
}

func (s *site) ack(c *Consumer, ds ...broker.Delivery) {
	s.t.Helper()
	for _, d := range ds {
		if lost, err := c.Ack(s.context(), d.Tag); len(lost) > 0 || err != nil {
			s.t.Errorf("Ack: lost %v, %v", lost, err)
		}
	}
}

func (s *site) await(what string, holds func() bool) {
	s.t.Helper()
	for ctx := s.context(); !holds(); {
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: not in time; log:\n%s", what, s.log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// The broker closes the channel of who has not acknowledged a message for long (30 minutes, unless its
// configuration says otherwise), at which Celery's worker ends. Here another channel is opened, and the
// task that still runs is not run again.
func TestConsumerTimeout(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t)
	server.ConsumerTimeout(t, 500*time.Millisecond)
	s := newSite(t, server.VHost(t).URL())
	c := s.open(broker.Queue{Name: "q"})
	s.publish("q", "long", "waits")
	ds := s.want(c, "long", "waits")
	if !c.Begin(ds[0].Tag) {
		t.Fatal("it is lost")
	}
	s.await("the timeout", func() bool {
		lost, err := c.Extend(s.context(), ds[0].Tag, ds[1].Tag)
		return err == nil && slices.Equal(lost, []string{ds[1].Tag})
	})
	server.ConsumerTimeout(t, time.Hour)
	s.await("the next channel", c.Connected)
	if n := c.Reconnects(); n != 0 {
		t.Errorf("the connection was made again %d times", n)
	}
	s.ack(c, ds[0])
	again, _ := s.claim(c, 1)
	s.ack(c, again...)
	s.publish("q", "next")
	s.ack(c, s.want(c, "next")...)
	if !strings.Contains(s.log.String(), "consumer: Connection to broker lost. Trying to re-establish the connection... ((406) PRECONDITION_FAILED - delivery acknowledgement on channel") {
		t.Errorf("log:\n%s", s.log.String())
	}
	s.await("the word of it", func() bool { return s.log.Count("Connected to amqp:") > 0 })
}

// How often the broker says that a message of a quorum queue went back does not count: others may have been run.
func TestRedeliveriesOfQuorumQueues(t *testing.T) {
	t.Parallel()
	s := newSite(t, rabbittest.New(t).URL())
	q := broker.Queue{Name: "q"}
	q.Declaration.SetArgument("x-queue-type", "quorum")
	c := s.open(q)
	s.publish("q", "kills")
	for want := range 3 {
		ds, _ := s.claim(c, 1)
		if ds[0].Redeliveries != min(want, 1) {
			t.Errorf("%d redeliveries, want %d", ds[0].Redeliveries, min(want, 1))
		}
		c.takeAway(ds[0].Tag)
	}
}

// A queue that is deleted is declared again, and consumed.
func TestQueueDeleted(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	c := s.open(broker.Named("q", "other")...)
	s.publish("q", "1")
	held := s.want(c, "1")
	vhost.DeleteQueue(t, "q")
	s.await("the queue", func() bool { _, there := vhost.Queues(t)["q"]; return there })
	s.publish("q", "2")
	s.publish("other", "3")
	ds, _ := s.claim(c, 2)
	s.ack(c, append(ds, held...)...) // of the first nobody knows any more, and nothing breaks
	s.publish("q", "4")
	s.ack(c, s.want(c, "4")...)
	if c.Lease().Term != held[0].Term {
		t.Error("what was held of other queues is lost")
	}
}

// A broker that is killed keeps what is durable. What ran is not run again here.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t)
	s := newSite(t, server.VHost(t).URL())
	c := s.open(broker.Named("q", "other")...)
	s.publish("q", "1", "2", "3")
	s.publish("other", "4", "5")
	ds, ids := s.claim(c, 5)
	slices.Sort(ids)
	for _, d := range ds {
		c.Begin(d.Tag)
	}
	server.Kill()
	s.await("the loss", func() bool { return !c.Connected() })
	s.ack(c, ds[:2]...)
	server.Restart(t)
	s.await("the connection", c.Connected)
	s.ack(c, ds[2:]...)
	s.publish("q", "6")
	s.publish("other", "7")
	ds, ids = s.claim(c, 2)
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"6", "7"}) {
		t.Errorf("claimed %q", ids)
	}
	s.ack(c, ds...)
	for _, line := range []string{"consumer: Connection to broker lost. Trying to re-establish the connection...", "consumer: Cannot connect to amqp://guest:**@127.0.0.1:", "Trying again in 2.00 seconds... (1/None)", "Connected to amqp://guest:**@127.0.0.1:"} {
		if !strings.Contains(s.log.String(), line) {
			t.Errorf("%q is not in the log:\n%s", line, s.log.String())
		}
	}
}

// A queue that somebody has declared otherwise is used as it is; one that must not be declared, if it
// is there.
func TestDeclaredOtherwise(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	onChannel(s.t, s.url, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		return err
	})
	c := s.open(broker.Queue{Name: "q", Declaration: broker.Declaration{Arguments: map[string]any{"x-max-priority": int64(9)}}})
	s.publish("q", "1")
	s.ack(c, s.want(c, "1")...)
	if log := s.log.String(); !strings.Contains(log, "Queue q was declared with other arguments than the settings say, and is used as it is: (406) PRECONDITION_FAILED - inequivalent arg 'x-queue-type'") &&
		!strings.Contains(log, "inequivalent arg 'x-max-priority'") {
		t.Errorf("log:\n%s", log)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	guest := newSite(t, vhost.User(t, "reader", "^$", ".*", ".*"))
	c = guest.open(broker.Queue{Name: "q"})
	s.publish("q", "2")
	guest.ack(c, guest.want(c, "2")...)
	if log := guest.log.String(); !strings.Contains(log, "Queue q must not be declared by this user, and is used if it is there: (403) ACCESS_REFUSED") {
		t.Errorf("log:\n%s", log)
	}
	if _, err := guest.tryOpen(broker.Queue{Name: "missing"}); err == nil || !strings.Contains(err.Error(), `queue "missing": exchange "missing": (403) ACCESS_REFUSED`) || !strings.Contains(err.Error(), "and it is not there") {
		t.Errorf("a queue that is not there and must not be declared: %v", err)
	}
}

// A queue that is another connection's alone is consumed when that has gone, and the others meanwhile.
func TestExclusiveQueue(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	own := broker.Queue{Name: "own", Declaration: broker.Declaration{Exclusive: true}}
	first, second := s.open(own), s.open(own, broker.Queue{Name: "q"})
	s.publish("q", "1")
	s.ack(second, s.want(second, "1")...)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s.await("the queue", func() bool { _, there := vhost.Queues(t)["own"]; return there })
	if n := s.log.Count("Queue own belongs to another connection; trying again every 5s: (405) RESOURCE_LOCKED"); n != 1 {
		t.Errorf("told %d times:\n%s", n, s.log.String())
	}
}

// A queue that cannot be added is not consumed, and nothing else is affected.
func TestAddQueueRefused(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	c := s.open(broker.Queue{Name: "q"})
	s.publish("q", "1")
	held := s.want(c, "1")
	bad := broker.Queue{Name: "bad", Declaration: broker.Declaration{Arguments: map[string]any{"x-message-ttl": "text"}}}
	if err := c.AddQueue(s.context(), bad); err == nil || !strings.Contains(err.Error(), "x-message-ttl") || !rabbitconn.IsConfig(err) || s.log.Count("used as it is") > 0 {
		t.Errorf("AddQueue: %v; log:\n%s", err, s.log.String())
	}
	if err := c.AddQueue(s.context(), broker.Queue{Name: "missing", Declaration: broker.Declaration{Skip: true}}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("AddQueue: %v", err)
	}
	if queues := c.Queues(); len(queues) != 1 {
		t.Errorf("consumes %v", queues)
	}
	s.await("the channel", c.Connected) // the second refusal has cost the first one
	_ = held
	s.publish("q", "2")
	for {
		ds, ids := s.claim(c, 1)
		s.ack(c, ds...)
		if ids[0] == "2" {
			break
		}
	}
}

// What is held for long makes no room for it, but does not keep other messages from coming either; when
// it is settled, no more is prefetched than before.
func TestPrefetchGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	s := newSite(t, rabbittest.New(t).URL())
	c := s.open(broker.Queue{Name: "q"})
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprint(i))
	}
	s.publish("q", ids...)
	ds := s.want(c, ids...) // with a prefetch of 4
	credit := func() (n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.sources.all[0].credit()
	}
	if n := credit(); n < 100 || n > 300 {
		t.Errorf("100 messages are held with a credit of %d", n)
	}
	s.ack(c, ds...)
	s.await("less", func() bool { return credit() == 4 })
}

// Of a queue with x-single-active-consumer the broker serves one consumer only. What is held for long does not keep other messages from
// coming there either, unless another worker waits: that takes over when this one ends, and not before.
func TestSingleActiveConsumer(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			vhost := rabbittest.New(t)
			s := newSite(t, vhost.URL())
			q := broker.Queue{Name: "q"}
			q.Declaration.SetArgument("x-queue-type", kind)
			q.Declaration.SetArgument("x-single-active-consumer", true)
			first := s.open(q)
			s.publish("q", "1", "2", "3", "4", "5", "6", "7", "8", "9")
			ds := s.want(first, "1", "2", "3", "4", "5", "6", "7", "8", "9") // with a prefetch of 4
			second := s.open(q)
			s.ack(first, ds...)
			first.SetPrefetch(100)
			s.publish("q", "10", "11")
			s.ack(first, s.want(first, "10", "11")...)
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			s.publish("q", "12")
			s.ack(second, s.want(second, "12")...)
		})
	}
}

// A quorum queue whose leader dies goes on with the next one: what was held is still held, and what comes is delivered.
func TestLeaderDies(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	q := broker.Queue{Name: "q"}
	q.Declaration.SetArgument("x-queue-type", "quorum")
	c := s.open(q)
	s.publish("q", "1")
	ds := s.want(c, "1")
	vhost.KillLeader(t, "q")
	s.publish("q", "2")
	s.ack(c, append(ds, s.want(c, "2")...)...)
	s.publish("q", "3")
	s.ack(c, s.want(c, "3")...)
	s.await("nothing is held", func() bool { q := vhost.Queues(t)["q"]; return q.Ready+q.Unacked == 0 })
	if s.log.String() != "" {
		t.Errorf("log:\n%s", s.log.String())
	}
}
