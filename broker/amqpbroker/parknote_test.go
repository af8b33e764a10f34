package amqpbroker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbittest"
)

// parksFor is how long messages are parked: each of them waits in one queue then, level 2.
const (
	parksFor    = 4500 * time.Millisecond
	parkedLevel = 2
)

// parks has a consumer park messages.
func (s *site) parks(ctx context.Context, c *Consumer, ds []broker.Delivery) (lost []string, err error) {
	parked := make([]broker.Parked, len(ds))
	for i, d := range ds {
		parked[i] = broker.Parked{Delivery: d, Due: time.Now().Add(parksFor)}
	}
	return c.Park(ctx, parked...)
}

// halfParked has messages parked until all is done but the acknowledgement. rest does that, too.
func (s *site) halfParked() (c, other *Consumer, rest func()) {
	s.t.Helper()
	onChannel(s.t, s.url, func(ch *amqp.Channel) error { return declareDelays(ch, "classic") }) // what quorum queues have is told late
	c, other, ds := s.claimed()
	done, rest := unwritten(c, func() error {
		_, err := s.parks(s.context(), c, ds)
		return err
	})
	s.await("the copies are parked", func() (parked bool) {
		onChannel(s.t, s.url, func(ch *amqp.Channel) error {
			q, err := ch.QueueDeclarePassive(delayLevel(parkedLevel), true, false, false, false, nil)
			parked = err == nil && q.Messages == len(ds)
			return nil
		})
		select {
		case err := <-done:
			s.t.Fatalf("it has not waited: %v\n%s", err, s.log.String())
		default:
		}
		return parked
	})
	return c, other, rest
}

// A worker that has lost its connection before it acknowledges what it parks keeps nothing parked, and drops what it had published.
func TestLosesConnectionBeforeAcknowledgingWhatIsParked(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	c, other, rest := s.halfParked()
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	before := c.link
	_ = c.holder.Current().Close()
	s.await("its connection is lost", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.link != before
	})
	rest()
	c.SetPrefetch(10)
	s.once(vhost, c, 3)
}

// What is parked comes once to another consumer, without a word of notes, while who has parked it lives and when it has ended, and then
// nothing is left of these.
func TestParkedComesToOthers(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{false, true} {
		t.Run(fmt.Sprintf("ends: %v", ends), func(t *testing.T) {
			t.Parallel()
			vhost := rabbittest.New(t)
			s := newSite(t, vhost.URL())
			c, other, ds := s.claimed()
			if lost, err := s.parks(s.context(), c, ds); err != nil || len(lost) > 0 {
				t.Fatal(lost, err)
			}
			if names := transfers(t, vhost); len(names) != 1 {
				t.Errorf("queues for notes: %q", names)
			}
			if ends {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if names := transfers(t, vhost); len(names) > 0 {
					t.Errorf("%q are left", names)
				}
			}
			ds, ids := s.claim(other, len(ds))
			if slices.Sort(ids); !slices.Equal(ids, []string{"1", "2", "3"}) {
				t.Errorf("claimed %q", ids)
			}
			other.mu.Lock()
			for _, d := range ds {
				if found := other.find(d.Tag); found.Headers[parkedHeader] != nil || !d.Unparked {
					t.Errorf("headers %v, unparked: %v", found.Headers, d.Unparked)
				}
			}
			other.mu.Unlock()
			s.ack(other, ds...)
			s.await("nothing is left", func() bool { return len(left(t, vhost)) == 0 })
		})
	}
}

// What was parked and not confirmed is parked again, and dropped when it comes nevertheless.
func TestParkedThatIsNotConfirmed(t *testing.T) {
	t.Parallel()
	for name, way := range unconfirmed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := rabbittest.Start(t)
			vhost := server.VHost(t)
			s := newSite(t, vhost.URL())
			c, other, ds := s.claimed()
			if err := c.prepareDelays(s.context(), false); err != nil {
				t.Fatal(err)
			}
			resume := suspend(t, server, vhost, delayLevel(parkedLevel))
			ctx, cancel := context.WithCancel(s.context())
			defer cancel()
			parked := make(chan error, 1)
			go func() {
				_, err := s.parks(ctx, c, ds)
				parked <- err
			}()
			s.await("the copies are on their way", func() bool { return c.underway() == len(ds) })
			first := c.line()
			way.end(c, cancel)
			s.await("they are given up", func() bool { return c.line() != first || ctx.Err() != nil })
			resume()
			if err := <-parked; (err == nil) != (ctx.Err() == nil) {
				t.Errorf("park: %v", err)
			}
			if ctx.Err() != nil {
				if lost, err := s.parks(s.context(), c, ds); err != nil || len(lost) > 0 {
					t.Error(lost, err)
				}
			}
			s.onceOfSome(vhost, other, way.has, 3)
			if names := transfers(t, vhost); len(names) != 2 {
				t.Errorf("queues for notes: %q", names)
			}
		})
	}
}
