package amqpbroker

import (
	"context"
	"net"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/internal/rabbitmemory"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/settings/connection"
)

// opened is a consumer that is closed with the test.
func opened(t *testing.T, cfg Config) *Consumer {
	t.Helper()
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

func TestBroker(t *testing.T) {
	t.Parallel()
	testBroker(t, func(t *testing.T) (string, connection.AMQP) { return rabbittest.New(t).URL(), connection.AMQP{} })
}

// TestBrokerInMemory holds the RabbitMQ of the simulation to what the real one does.
func TestBrokerInMemory(t *testing.T) {
	t.Parallel()
	testBroker(t, inMemory)
}

// inMemory starts a RabbitMQ that ends with the test, and says how it is connected to.
func inMemory(t *testing.T) (url string, opts connection.AMQP) {
	t.Helper()
	server := rabbitmemory.New(rabbitmemory.Options{})
	t.Cleanup(server.Close)
	opts.Dial = func(context.Context, string, string) (net.Conn, error) {
		client, served := net.Pipe()
		server.Serve(served)
		return client, nil
	}
	return "amqp://guest:guest@memory//", opts
}

func testBroker(t *testing.T, rabbit func(t *testing.T) (url string, opts connection.AMQP)) {
	t.Helper()
	_, parks := any((*Consumer)(nil)).(broker.Parker)
	_, moves := any((*Consumer)(nil)).(broker.Mover)
	brokertest.Run(t, brokertest.Features{
		Leases: true, Joins: true, Prefetches: true, Chooses: true, Queues: true, Connected: true, Parks: parks, Moves: moves,
		Broadcasts: true, Replies: true, Asks: true, CountsStart: true,
	}, func(t *testing.T) brokertest.Fixture {
		url, opts := rabbit(t)
		var consumers []*Consumer
		publisher, err := OpenPublisher(t.Context(), PublisherConfig{URL: url, Connection: opts})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { publisher.Close() })
		return brokertest.Fixture{
			Open: func(t *testing.T, queues ...string) broker.Consumer {
				c := opened(t, Config{URL: url, Connection: opts, Queues: broker.Named(queues...), Prefetch: 3})
				consumers = append(consumers, c)
				return c
			},
			Publisher: publisher,
			TakeAway: func(t *testing.T, tag string) {
				for _, c := range consumers {
					c.takeAway(tag)
				}
			},
			Leased: func(*testing.T) (n int) {
				for _, c := range consumers {
					n += c.held()
				}
				return n
			},
			DeadLetters: func(t *testing.T) []broker.DeadLetter { return lettersIn(t, url, opts) },
			CutOff: func(*testing.T) {
				for _, c := range consumers {
					if conn := c.holder.Current(); conn != nil {
						_ = conn.Close() // as if it were lost
					}
				}
			},
		}
	})
}

// takeAway has the broker give a message to others that the consumer takes for its own.
func (c *Consumer) takeAway(tag string) {
	l := c.lockLink()
	defer l.writing.Unlock()
	d := c.find(tag)
	if d == nil {
		c.mu.Unlock()
		return
	}
	l.remove(d)
	c.mu.Unlock()
	c.write(l, []*delivery{d}, false)
}

// held is how many messages were claimed and not settled.
func (c *Consumer) held() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil || c.closed.Load() {
		return 0
	}
	for _, d := range c.link.open {
		if !d.buffered {
			n++
		}
	}
	return n
}

// lettersIn takes the dead letters out of their queue.
func lettersIn(t *testing.T, url string, opts connection.AMQP) (letters []broker.DeadLetter) {
	t.Helper()
	rabbit, err := rabbitconn.Parse(url, opts)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rabbit.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for {
		d, ok, err := ch.Get("apium.dlq", true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return letters
		}
		letter, _ := d.Headers["apium-letter"].(amqp.Table)
		delete(d.Headers, "apium-letter")
		reason, _ := letter["reason"].(string)
		letters = append(letters, broker.DeadLetter{Reason: reason, Delivery: broker.Delivery{Content: content(&d)}})
	}
}
