package amqpbroker

import (
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbittest"
)

// between has copies of messages published that do not come, so that these are not acknowledged.
func (s *site) between(c *Consumer, ds ...broker.Delivery) {
	s.t.Helper()
	c.holdsInVain(s.t)
	for _, d := range ds {
		c.Begin(d.Tag)
		go func() { _ = c.Started(c.ctx, d.Tag) }() // it waits for them in vain
	}
	s.await("the broker has the copies, and their notes have come", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		n := 0
		for _, m := range c.link.holds {
			if m.confirmed && m.note != nil {
				n++
			}
		}
		return n == len(ds)
	})
}

// dropped waits until copies are dropped.
func (s *site) dropped(copies int, consumers ...*Consumer) {
	s.t.Helper()
	s.droppedSome(copies, copies, consumers...)
}

// droppedSome waits until as many copies are dropped as there must be, of those that there may be.
func (s *site) droppedSome(least, most int, consumers ...*Consumer) {
	s.t.Helper()
	again := false
	s.await("the copies are dropped", func() bool {
		for _, c := range consumers {
			c.mu.Lock()
			again = again || c.buffer.len() > 0
			c.mu.Unlock()
		}
		n := s.log.Count("was there twice")
		return again || n >= least && n <= most
	})
	if again {
		s.t.Fatalf("a copy is to run beside its message; log:\n%s", s.log.String())
	}
}

// left are the queues but those for notes that have messages.
func left(t *testing.T, v *rabbittest.VHost) (names []string) {
	t.Helper()
	for name, q := range v.Queues(t) {
		if q.Ready+q.Unacked > 0 && !strings.HasSuffix(name, ".notes") {
			names = append(names, name)
		}
	}
	return names
}

// What a worker has begun that was killed between the publication of a copy and the acknowledgement is delivered once: also if it is
// not done when the copy comes, and whoever gets that. What is sent again under its id is another message.
func TestLeftBesideItsCopy(t *testing.T) {
	t.Parallel()
	ofBothTypes(t, func(t *testing.T, q broker.Queue) {
		vhost := rabbittest.New(t)
		s := newSite(t, vhost.URL())
		killed := s.open(q)
		ids := []string{"1", "2", "3", "4"}
		s.publish("q", ids...)
		s.between(killed, s.want(killed, ids...)...)
		killed.dies()
		runs := s.open(q)
		ds, got := s.claim(runs, len(ids))
		if slices.Sort(got); !slices.Equal(got, ids) {
			t.Errorf("what comes again: %q", got)
		}
		other := s.open(q)
		s.dropped(len(ids), runs, other)
		s.ack(runs, ds...)
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		s.await("nothing is left", func() bool { return len(left(t, vhost)) == 0 })
		s.publish("q", "1")
		s.ack(runs, s.want(runs, "1")...)
	})
}

// A worker that has lost its connection there goes on with the message, and drops the copy, though the note is lost.
func TestLosesConnectionBesideACopy(t *testing.T) {
	t.Parallel()
	ofBothTypes(t, func(t *testing.T, q broker.Queue) {
		vhost := rabbittest.New(t)
		s := newSite(t, vhost.URL())
		c := s.open(q)
		s.publish("q", "1")
		ds := s.want(c, "1")
		s.between(c, ds...)
		vhost.DeleteQueue(t, holdPrefix+"in vain.notes")
		_ = c.holder.Current().Close()
		s.await("the message comes again", func() bool { return s.log.Count("it runs here already") > 0 })
		s.dropped(1, c)
		s.ack(c, ds...)
		s.await("nothing is left", func() bool { return len(left(t, vhost)) == 0 })
	})
}

// A copy may come to the next link before the queue for notes knows that the one is lost to which it has delivered them: that is waited for.
func TestWaitsUntilNotesHaveGoneBack(t *testing.T) {
	t.Parallel()
	ofBothTypes(t, func(t *testing.T, q broker.Queue) {
		vhost := rabbittest.New(t)
		s := newSite(t, vhost.URL())
		c := s.open(q)
		s.publish("q", "runs")
		runs := s.want(c, "runs")
		c.Begin(runs[0].Tag)
		if err := c.Started(s.context(), runs[0].Tag); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		held := c.sources.all[0].holding.name
		c.mu.Unlock()
		copied := func(id, notes string) *outgoing {
			d := &delivery{Delivery: amqp.Delivery{CorrelationId: id, RoutingKey: "q", Headers: amqp.Table{"task": "t", "id": id}}}
			return &outgoing{Publishing: d.returned(1, beside{id, notes}), key: held}
		}
		onChannel(t, s.url, func(ch *amqp.Channel) error { // the lost link
			const notes = holdPrefix + "lost.notes"
			if err := declareNotes(ch, notes); err != nil {
				return err
			}
			noted, err := ch.Consume(notes, "", false, false, false, false, nil)
			if err != nil {
				return err
			}
			for _, m := range []*outgoing{(&holding{name: holdPrefix, id: "lost"}).note(&hold{id: "there"}), copied("there", notes), copied("alone", holdPrefix+"none.notes")} {
				confirmed, err := ch.PublishWithDeferredConfirm("", m.key, false, false, m.Publishing)
				if err != nil {
					return err
				}
				confirmed.Wait()
			}
			<-noted
			s.want(c, "alone") // which is looked at after the other one
			return nil
		})
		s.dropped(1, c)
	})
}
