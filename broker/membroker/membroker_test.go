package membroker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/membroker"
)

func TestBroker(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(*testing.T) brokertest.Fixture {
		b := new(membroker.Broker)
		return brokertest.Fixture{
			Open:      func(_ *testing.T, queues ...string) broker.Consumer { return b.Consumer(queues...) },
			Publisher: b.Publisher(),
			TakeAway:  func(_ *testing.T, tag string) { b.Expire(tag) },
			Leased:    func(*testing.T) int { return b.Leased() },

			Broadcaster: b.Broadcaster(),
			DeadLetters: func(*testing.T) []broker.DeadLetter { return b.DeadLetters() },
		}
	})
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
