package amqpbroker

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/settings/connection"
)

// darkness is a network that loses what is written in either direction, without anybody being told, from some time on.
type darkness struct{ fallen atomic.Bool }

func (d *darkness) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.fallen.Load() {
		return nil, errors.New("it is dark")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &darkConn{Conn: conn, darkness: d}, err
}

type darkConn struct {
	net.Conn
	*darkness
}

func (c *darkConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if !c.fallen.Load() || err != nil {
			return n, err
		}
	}
}

func (c *darkConn) Write(p []byte) (int, error) {
	if c.fallen.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Whoever has not heard of the broker for a heartbeat has no lease, and acknowledges nothing, before he knows whether the broker has given
// to others what he holds: RabbitMQ waits for two. His process, or the network, may have stood still.
func TestNothingIsAcknowledgedInTheDark(t *testing.T) {
	t.Parallel()
	var night darkness
	vhost := rabbittest.New(t)
	c, err := Open(t.Context(), Config{
		URL: vhost.URL(), Queues: broker.Named("q"), Prefetch: 2, Connection: connection.AMQP{Heartbeat: 2 * time.Second, Options: connection.Options{Dial: night.dial}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, vhost.URL(), "q", amqp.Publishing{Body: []byte("1")}, amqp.Publishing{Body: []byte("2")})
	var held []string
	for len(held) < 2 {
		ds, err := c.Claim(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			held = append(held, d.Tag)
		}
	}
	for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(10 * time.Millisecond) {
		if lost, err := c.Ack(t.Context()); len(lost) > 0 || err != nil || !c.Connected() {
			t.Fatal("while the broker answers:", lost, err)
		}
	}
	night.fallen.Store(true)
	fell := time.Now()
	for c.Lease().Good(time.Now()) {
		if time.Since(fell) > 3*time.Second {
			t.Fatal("there is a lease a heartbeat and a half after the last answer")
		}
		time.Sleep(time.Millisecond)
	}
	if lost, err := c.Ack(t.Context(), held...); err != nil || !slices.Equal(lost, held) {
		t.Errorf("acknowledged without a lease: lost %v, %v", lost, err)
	}
}
