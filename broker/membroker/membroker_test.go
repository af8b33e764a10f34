package membroker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/membroker"
)

var features = brokertest.Features{
	Leases: true, Unclaims: true, Chooses: true, Returns: true, Bypasses: true, Parks: true, Unparks: true, Recalls: true, ListsParked: true, Queues: true, Moves: true,
	Concludes: true, CountsStart: true, AllOrNone: true, Broadcasts: true, Replies: true, Asks: true,
	KombuOrder: true, Back: true, AtomicMoves: true,
}

func fixture(open func(broker.Consumer) broker.Consumer, publish func(broker.Publisher) broker.Publisher) func(*testing.T) brokertest.Fixture {
	return func(*testing.T) brokertest.Fixture {
		b := new(membroker.Broker)
		return brokertest.Fixture{
			Open:        func(_ *testing.T, queues ...string) broker.Consumer { return open(b.Consumer(queues...)) },
			Publisher:   publish(b.Publisher()),
			TakeAway:    func(_ *testing.T, tag string) { b.Expire(tag) },
			Leased:      func(*testing.T) int { return b.Leased() },
			DeadLetters: func(*testing.T) []broker.DeadLetter { return b.DeadLetters() },
		}
	}
}

func TestBroker(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, features, fixture(
		func(c broker.Consumer) broker.Consumer { return c },
		func(p broker.Publisher) broker.Publisher { return p }))
}

// wrapped has the abilities of what it wraps.
type (
	wrapped          struct{ broker.Consumer }
	wrappedPublisher struct{ broker.Publisher }
)

func (w wrapped) Unwrap() broker.Consumer           { return w.Consumer }
func (w wrappedPublisher) Unwrap() broker.Publisher { return w.Publisher }

// Who wraps a broker loses nothing.
func TestWrappedBroker(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, features, fixture(
		func(c broker.Consumer) broker.Consumer { return wrapped{wrapped{c}} },
		func(p broker.Publisher) broker.Publisher { return wrappedPublisher{p} }))
}

// plain has no abilities but that its broker serves queues in kombu's order.
type (
	plain          struct{ broker.Consumer }
	plainPublisher struct{ broker.Publisher }
)

// Publish publishes one by one: a message that is refused keeps no other from it.
func (p plainPublisher) Publish(ctx context.Context, messages ...broker.Publication) error {
	var errs []error
	for i, m := range messages {
		err := p.Publisher.Publish(ctx, m)
		for _, refused := range broker.Refusals(err) {
			refused.Index, refused.OthersSent = i, true
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// A broker that promises nothing passes what concerns every broker.
func TestPlainBroker(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, brokertest.Features{KombuOrder: true, Back: true}, fixture(
		func(c broker.Consumer) broker.Consumer { return plain{c} },
		func(p broker.Publisher) broker.Publisher { return plainPublisher{p} }))
}

func TestVisibilityTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := &membroker.Broker{VisibilityTimeout: time.Hour}
		c := b.Consumer("q")
		if err := b.Publisher().Publish(ctx,
			broker.Publication{RoutingKey: "q", Message: brokertest.Message("1", 0)},
			broker.Publication{RoutingKey: "q", Message: brokertest.Message("2", 0)}); err != nil {
			t.Fatal(err)
		}
		ds, err := c.Claim(ctx, 2)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute)
		if lost, err := c.Extend(ctx, ds[0].Tag); len(lost) > 0 || err != nil {
			t.Fatalf("Extend: lost %v, error %v", lost, err)
		}
		again, err := c.Claim(ctx, 2) // wakes when the second lease ends
		if err != nil || len(again) != 1 {
			t.Fatalf("Claim: %v, %v", again, err)
		}
		if lost, err := c.Ack(ctx, ds[0].Tag, ds[1].Tag); err != nil || len(lost) != 1 || lost[0] != ds[1].Tag {
			t.Errorf("Ack: lost %v, error %v; want the second tag", lost, err)
		}
		if n := b.Leased() + b.Len("q"); n != 1 {
			t.Errorf("%d messages left, want the one claimed again", n)
		}
	})
}
