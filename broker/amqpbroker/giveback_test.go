package amqpbroker

import (
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/protocol"
)

// limited is a quorum queue that drops what went back more than twice.
func limited() broker.Queue {
	q := broker.Queue{Name: "q", Exchange: "e", RoutingKey: "k"}
	q.Declaration.SetArgument("x-queue-type", "quorum")
	q.Declaration.SetArgument("x-delivery-limit", int64(2))
	return q
}

// What goes back to a quorum queue does not count there, whether it was claimed or not, and is then as it was
// before, but redelivered.
func TestGivesBackUncounted(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"declared as quorum": true, "declared as quorum by somebody else": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, rabbittest.New(t).URL())
			q := limited()
			onChannel(t, s.url, func(ch *amqp.Channel) error {
				if err := declareQueue(ch, q); err != nil {
					return err
				}
				for _, id := range []string{"1", "2", "3"} {
					confirmed, err := ch.PublishWithDeferredConfirm("e", "k", true, false, amqp.Publishing{
						CorrelationId: id, DeliveryMode: amqp.Persistent, Priority: 4, Headers: amqp.Table{"task": "t", "id": id, "retries": int32(2)},
					})
					if err != nil {
						return err
					}
					confirmed.Wait()
				}
				return nil
			})
			if !known {
				q.Declaration = broker.Declaration{}
			}
			for range 6 {
				c := s.open(q)
				ds, _ := s.claim(c, 1)
				if err := c.Requeue(s.context(), broker.Front, ds...); err != nil {
					t.Fatal(err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
			c := s.open(q)
			ds, ids := s.claim(c, 3)
			slices.Sort(ids)
			if !slices.Equal(ids, []string{"1", "2", "3"}) {
				t.Errorf("claimed %q", ids)
			}
			for _, d := range ds {
				var r protocol.Received
				d.Read(&r)
				if headers := string(r.Headers.Raw()); string(r.Exchange) != "e" || string(r.RoutingKey) != "k" || !r.Redelivered || r.Priority != 4 ||
					strings.Contains(headers, "apium") || !strings.Contains(headers, `"retries"`) {
					t.Errorf("exchange %q, key %q, redelivered %v, priority %d, headers %s", r.Exchange, r.RoutingKey, r.Redelivered, r.Priority, headers)
				}
			}
			s.ack(c, ds...)
		})
	}
}

// What has gone back by itself, with the connection, is not given back as a copy besides.
func TestGivesBackOnce(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	onChannel(t, s.url, func(ch *amqp.Channel) error { return declareQueue(ch, limited()) })
	s.publish("q", "1")
	c := s.open(limited())
	s.want(c, "1")
	c.mu.Lock()
	lost := c.link
	held := []*delivery{lost.oldest}
	c.mu.Unlock()
	vhost.CloseConnections(t)
	s.want(c, "1")
	c.giveBack(s.context(), held)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	onChannel(t, s.url, func(ch *amqp.Channel) error {
		for {
			if _, got, err := ch.Get("q", true); err != nil || !got {
				return err
			}
			n++
		}
	})
	if n != 1 {
		t.Errorf("%d messages instead of one", n)
	}
}

// While the broker takes no messages, or may not be given any, what goes back does so as on any other queue.
func TestGivesBackWhatCannotBePublished(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t)
	vhost := server.VHost(t)
	owner := newSite(t, vhost.URL())
	onChannel(t, owner.url, func(ch *amqp.Channel) error { return declareQueue(ch, limited()) })
	reader := newSite(t, vhost.User(t, "reader", ".*", "^(q|e)$", ".*"))
	for _, c := range []struct {
		name string
		site *site
	}{{"forbidden", reader}, {"blocked", owner}} {
		owner.publish("q", "1")
		if c.name == "blocked" {
			server.Alarm(t)
		}
		consumer := c.site.open(limited())
		ds := c.site.want(consumer, "1")
		if err := consumer.Requeue(c.site.context(), broker.Back, ds...); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		ds = c.site.want(consumer, "1")
		if len(ds) != 1 || ds[0].Redeliveries == 0 {
			t.Errorf("%s: it went back uncounted: %v", c.name, ds)
		}
		c.site.ack(consumer, ds...)
		server.Calm(t)
		if err := consumer.Close(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What a classic queue gets back, and knows already how often it was redelivered, is the message itself.
func TestGivesBackNoCopies(t *testing.T) {
	t.Parallel()
	s := newSite(t, rabbittest.New(t).URL())
	q := broker.Queue{Name: "q"}
	s.open(q).Close()
	s.publish("q", "1")
	c := s.open(q)
	s.want(c, "1")
	c.dies()
	for range 2 {
		c := s.open(q)
		ds := s.want(c, "1")
		if n := ds[0].Redeliveries; n != 1 {
			t.Errorf("%d redeliveries, want 1", n)
		}
		if err := c.Requeue(s.context(), broker.Back, ds...); err != nil {
			t.Fatal(err)
		}
		if err := c.elsewhere.lines.turn.take(s.context()); err != nil {
			t.Fatal(err)
		}
		if c.elsewhere.lines.current != nil {
			t.Error("something is published")
		}
		c.elsewhere.lines.turn.leave()
		c.Close()
	}
}

// Where nothing can be held, what goes back to a quorum queue is a copy nevertheless, so that it does not count.
func TestGivesBackWhereNothingCanBeHeld(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	owner := newSite(t, vhost.URL())
	onChannel(t, owner.url, func(ch *amqp.Channel) error { return declareQueue(ch, limited()) })
	owner.publish("q", "1")
	s := newSite(t, vhost.User(t, "poor", "^(q|e)$", ".*", ".*"))
	for range 4 {
		c := s.open(limited())
		if err := c.Requeue(s.context(), broker.Front, s.want(c, "1")...); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	c := s.open(limited())
	s.ack(c, s.want(c, "1")...)
	s.empty(vhost)
}
