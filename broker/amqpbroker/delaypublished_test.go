package amqpbroker_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/internal/logtest"
	"github.com/apium/apium/internal/rabbittest"
)

var delayedQueue = broker.Queue{Name: "q", Exchange: "tex", ExchangeType: broker.Topic, RoutingKey: "a.b"}

// later is a message for delayedQueue.
func later(id string, delay time.Duration) broker.Publication {
	return broker.Publication{Exchange: "tex", RoutingKey: "a.b", ExchangeType: broker.Topic, Message: brokertest.Message(id, 0), Delay: delay}
}

// waiting counts the messages that wait in queues whose names begin so.
func waiting(t *testing.T, v *rabbittest.VHost, prefix string) (n int) {
	t.Helper()
	for name, q := range v.Queues(t) {
		if strings.HasPrefix(name, prefix) {
			n += q.Ready
		}
	}
	return n
}

// TestDelayedPublications wait in the broker, although no worker has ever been there, and arrive. When what delays is
// deleted, it is declared again.
func TestDelayedPublications(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t)
	p := openPublisher(t, amqpbroker.PublisherConfig{URL: v.URL(), Bound: []broker.Queue{delayedQueue}, Delays: true})
	if err := p.Publish(patient(t), later("now", 0), later("soon", 999*time.Millisecond), later("past", -time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := waiting(t, v, "q"); n != 3 || len(v.Queues(t)) != 1 {
		t.Fatalf("%d messages in the queue, %d queues", n, len(v.Queues(t)))
	}
	if err := p.Publish(patient(t), later("1s", time.Second), later("1h", time.Hour), later("far", 1<<40*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for ctx := patient(t); waiting(t, v, "q") != 4; time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("what was due in a second does not arrive")
		}
	}
	if n := waiting(t, v, "celery_delayed_"); n != 2 {
		t.Errorf("%d messages are delayed", n)
	}
	v.DeleteExchange(t, "celery_delayed_27")
	if err := p.Publish(patient(t), later("again", time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := waiting(t, v, "celery_delayed_"); n != 3 {
		t.Errorf("%d messages are delayed", n)
	}
}

// TestDelayedPublicationsWithoutRights go to their queue, whose worker sees to them, and that is said once.
func TestDelayedPublicationsWithoutRights(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t)
	var log logtest.Buffer
	p := openPublisher(t, amqpbroker.PublisherConfig{
		URL: v.User(t, "producer", "^(q|tex)$", ".*", ".*"), Bound: []broker.Queue{delayedQueue}, Delays: true, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for range 2 {
		if err := p.Publish(patient(t), later("1h", time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if n := waiting(t, v, "q"); n != 2 {
		t.Errorf("%d messages in the queue", n)
	}
	if n := log.Count("Native delayed delivery cannot be used"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, log.String())
	}
}
