package amqpbroker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/protocol"
)

// parkBench is a virtual host with a consumer and a publisher.
type parkBench struct {
	*testing.T
	vhost *rabbittest.VHost
	c     *Consumer
	p     *Publisher
}

func newParkBench(t *testing.T, cfg Config) *parkBench {
	t.Helper()
	vhost := rabbittest.New(t)
	cfg.URL = vhost.URL()
	return parkBenchOn(t, vhost, cfg)
}

func parkBenchOn(t *testing.T, vhost *rabbittest.VHost, cfg Config) *parkBench {
	t.Helper()
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	p, err := OpenPublisher(t.Context(), PublisherConfig{URL: vhost.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return &parkBench{T: t, vhost: vhost, c: c, p: p}
}

func (b *parkBench) send(p broker.Publication) {
	b.Helper()
	p.Message = brokertest.Message("1", 0)
	if err := b.p.Publish(b.Context(), p); err != nil {
		b.Fatal(err)
	}
}

// claim claims one message.
func (b *parkBench) claim() broker.Delivery {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	ds, err := b.c.Claim(ctx, 1)
	if err != nil {
		b.Fatalf("claim: %v", err)
	}
	return ds[0]
}

func (b *parkBench) park(d broker.Delivery, in time.Duration) error {
	b.Helper()
	lost, err := b.c.Park(b.Context(), broker.Parked{Delivery: d, Due: time.Now().Add(in), TaskID: "1"})
	if len(lost) > 0 {
		b.Errorf("lost %v", lost)
	}
	return err
}

func infoOf(d broker.Delivery) protocol.Info {
	var r protocol.Received
	d.Read(&r)
	return protocol.Info{Exchange: string(r.Exchange), RoutingKey: string(r.RoutingKey), Redelivered: r.Redelivered}
}

// A message is not held while it waits, and comes back as it was, though it is parked again and
// again: RabbitMQ does not take it for one that goes in a circle.
func TestParkAgainAndAgain(t *testing.T) {
	t.Parallel()
	for _, queueType := range []string{"quorum", "classic"} {
		b := newParkBench(t, Config{Queues: broker.Named("a.b"), DelayQueueType: queueType})
		b.send(broker.Publication{RoutingKey: "a.b"})
		for i := range 3 {
			d := b.claim()
			if d.Unparked != (i > 0) || infoOf(d) != (protocol.Info{RoutingKey: "a.b"}) {
				t.Errorf("%s, round %d: unparked %v, %+v", queueType, i, d.Unparked, infoOf(d))
			}
			start := time.Now()
			if err := b.park(d, 2500*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if n := b.c.held(); n != 0 && time.Since(start) < 2*time.Second { // else it may have come back
				t.Errorf("%s: %d messages held while one is parked", queueType, n)
			}
			if i == 2 {
				b.claim()
				if took := time.Since(start); took < 1500*time.Millisecond {
					t.Errorf("%s: came after %v", queueType, took)
				}
			}
		}
	}
}

// What Python has delayed is delivered through the bindings of Celery.
func TestPythonsDelay(t *testing.T) {
	t.Parallel()
	b := newParkBench(t, Config{Delays: true, Queues: []broker.Queue{{Name: "q", Exchange: "x", ExchangeType: broker.Topic, RoutingKey: "the.key"}}})
	key := delayKey(1, "the.key")
	b.send(broker.Publication{Exchange: delayEntrance, ExchangeType: broker.Topic, RoutingKey: key})
	d := b.claim()
	if got := infoOf(d); d.Unparked || got != (protocol.Info{Exchange: delayDelivery, RoutingKey: key}) {
		t.Errorf("unparked %v, %+v", d.Unparked, got)
	}
	if err := b.park(d, time.Second); err != nil {
		t.Fatal(err)
	}
	if d = b.claim(); !d.Unparked || infoOf(d) != (protocol.Info{RoutingKey: "q"}) {
		t.Errorf("unparked %v, %+v", d.Unparked, infoOf(d))
	}
}

// Where it is neither there nor may be declared, nothing is parked, and nothing is lost.
func TestParkWithoutRights(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	b := parkBenchOn(t, vhost, Config{URL: vhost.User(t, "limited", "^q$", ".*", ".*"), Queues: broker.Named("q")})
	b.send(broker.Publication{RoutingKey: "q"})
	d := b.claim()
	if err := b.park(d, time.Hour); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("park: %v", err)
	}
	if _, err := b.c.Park(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("park nothing: %v", err)
	}
	if lost, err := b.c.Ack(t.Context(), d.Tag); len(lost) > 0 || err != nil {
		t.Errorf("it is not held any more: %v, %v", lost, err)
	}
}

// What somebody has deleted of native delayed delivery is declared again.
func TestParkAfterDeletion(t *testing.T) {
	t.Parallel()
	b := newParkBench(t, Config{Queues: broker.Named("q"), DelayQueueType: "classic"})
	b.send(broker.Publication{RoutingKey: "q"})
	if err := b.park(b.claim(), time.Second); err != nil {
		t.Fatal(err)
	}
	d := b.claim()
	b.vhost.DeleteExchange(t, delayLevel(0))
	b.vhost.DeleteExchange(t, delayEntrance)
	if err := b.park(d, time.Second); err != nil {
		t.Fatal(err)
	}
	b.claim()
}

func TestForwardDeclares(t *testing.T) {
	t.Parallel()
	b := newParkBench(t, Config{Queues: broker.Named("q")})
	b.send(broker.Publication{RoutingKey: "q"})
	if err := b.c.Forward(t.Context(), "elsewhere", b.claim()); err != nil {
		t.Fatal(err)
	}
	if n, queues := b.c.held(), b.vhost.Queues(t); queues["elsewhere"].Ready != 1 || n != 0 {
		t.Errorf("%d messages held; queues: %+v", n, queues)
	}
}
