package amqpbroker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
)

// RabbitMQ closes the connection of a process that it has not heard of for two heartbeats, and hands out again what that holds. A process
// that stood still, or was cut off, does not know: what it finds in its socket when it goes on may be old, and what it
// writes gets nowhere. So nothing starts but for a heartbeat after something was asked that has been answered.

// proof is until when the broker cannot take this process for dead.
type proof struct {
	until  atomic.Pointer[time.Time] // nil: there was none
	wanted chan struct{}             // token: it is to be given now
}

const (
	// proofsPerHeartbeat is how often the broker is asked while what it has answered holds.
	proofsPerHeartbeat = 4
	// forEver is how long a connection without heartbeats is taken to last.
	forEver = 100 * 365 * 24 * time.Hour
	// surePause is how often who waits for an answer looks again.
	surePause = 5 * time.Millisecond
)

// prove sees to it that there is proof until the link is lost. The connection was alive at a time.
func (c *Consumer) prove(l *link, alive time.Time) error {
	heartbeat := l.conn.Config.Heartbeat
	if heartbeat <= 0 {
		c.proved(alive, forEver)
		return nil
	}
	ch, err := l.conn.Channel() // of its own: a channel waits for one answer at a time
	if err != nil {
		return err
	}
	c.proved(alive, heartbeat)
	c.proving.Go(func() {
		ticker := time.NewTicker(heartbeat / proofsPerHeartbeat)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-c.proof.wanted:
			case <-l.lost:
				_ = ch.Close()
				return
			}
			asked := time.Now()
			if ch.Qos(0, 0, false) != nil { // it changes nothing, and is answered
				_ = l.ch.Close() // without proof nothing would start any more
				return
			}
			c.proved(asked, heartbeat)
		}
	})
	return nil
}

func (c *Consumer) proved(alive time.Time, lasts time.Duration) {
	until := alive.Add(lasts)
	c.proof.until.Store(&until)
}

// Lease implements [broker.Leaser]. What a link has delivered is held as long as the link lasts, and each has a term of its own; whether
// it does last is known for a heartbeat at a time.
func (c *Consumer) Lease() broker.Lease {
	lease := broker.Lease{Term: c.term.Load()}
	if until := c.proof.until.Load(); until != nil {
		lease.Until = *until
	}
	return lease
}

// LeaseLasts implements [broker.Leaser].
func (c *Consumer) LeaseLasts() time.Duration { return forEver }

// Lapsed implements [broker.Leaser].
func (c *Consumer) Lapsed() <-chan struct{} { return c.lapsed }

// Beat implements [broker.Leaser].
func (c *Consumer) Beat() { signal(c.proof.wanted) }

// sure waits until it is known that the link lasts, or is lost.
func (c *Consumer) sure(ctx context.Context) error {
	for {
		if err := c.usable(ctx); err != nil {
			return err
		}
		if c.Lease().Good(time.Now()) || !c.Connected() {
			return nil
		}
		c.Beat()
		select {
		case <-time.After(surePause):
		case <-ctx.Done():
		}
	}
}
