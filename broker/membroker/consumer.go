package membroker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// consumer claims. Its fields are under b.mu, as what it does to the broker is.
type consumer struct {
	b       *Broker
	sources []source // in the order given
	cycle   []source // the next to be served first
	waits   bool     // a Claim does, for messages of any queue
	once    sync.Once
	closed  chan struct{}
}

// source is a queue that is consumed. Each consumer of a fanout queue has a list of
// its own.
type source struct {
	broker.Queue
	list string
}

var (
	_ broker.Consumer  = (*consumer)(nil)
	_ broker.Leaser    = (*consumer)(nil)
	_ broker.Unclaimer = (*consumer)(nil)
	_ broker.Chooser   = (*consumer)(nil)
	_ broker.Returner  = (*consumer)(nil)
	_ broker.Bypassers = (*consumer)(nil)
	_ broker.Parker    = (*consumer)(nil)
	_ broker.Mover     = (*consumer)(nil)
	_ broker.Queues    = (*consumer)(nil)
	_ broker.Starter   = (*consumer)(nil)
)

func (c *consumer) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Claim implements [broker.Consumer].
func (c *consumer) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	return c.ClaimWithout(ctx, limit, nil)
}

// ClaimWithout implements [broker.Chooser].
func (c *consumer) ClaimWithout(ctx context.Context, limit int, without func(queue string) bool) ([]broker.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("membroker: claim of %d messages", limit)
	}
	for {
		if err := c.usable(ctx); err != nil {
			return nil, err
		}
		ds, changed, lapse := c.b.claim(c, limit, without)
		if len(ds) > 0 {
			return ds, nil
		}
		c.setWaits(without == nil)
		err := c.wait(ctx, changed, lapse)
		c.setWaits(false)
		if err != nil {
			return nil, err
		}
	}
}

func (c *consumer) setWaits(waits bool) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.waits = waits
}

func (c *consumer) wait(ctx context.Context, changed chan struct{}, lapse time.Duration) error {
	var lapsed <-chan time.Time
	if lapse > 0 {
		timer := time.NewTimer(lapse)
		defer timer.Stop()
		lapsed = timer.C
	}
	select {
	case <-changed:
	case <-lapsed:
	case <-c.closed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Ack implements [broker.Consumer].
func (c *consumer) Ack(ctx context.Context, tags ...string) (lost []string, err error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.expire()
	for _, tag := range tags {
		if !c.b.settle(tag) {
			lost = append(lost, tag)
		}
	}
	return lost, nil
}

// Requeue implements [broker.Consumer].
func (c *consumer) Requeue(ctx context.Context, place broker.Place, deliveries ...broker.Delivery) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if place == broker.Back {
		for _, d := range deliveries {
			c.b.recount(d)
			c.b.giveBack(d.Tag, place)
		}
		return nil
	}
	for _, d := range slices.Backward(deliveries) {
		c.b.recount(d)
		c.b.giveBack(d.Tag, place)
	}
	return nil
}

// Unclaim implements [broker.Unclaimer].
func (c *consumer) Unclaim(ctx context.Context, deliveries ...broker.Delivery) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for _, d := range slices.Backward(deliveries) {
		if l := c.b.leases[d.Tag]; l != nil {
			delete(c.b.leases, d.Tag)
			c.b.put(l.list, broker.Front, l.message)
		}
	}
	return nil
}

// Return implements [broker.Returner].
func (c *consumer) Return(ctx context.Context, acknowledged ...broker.Delivery) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for _, d := range slices.Backward(acknowledged) {
		m, err := returned(d)
		if err != nil {
			return err
		}
		c.b.put(d.Queue, broker.Front, m)
	}
	return nil
}

// Hold implements [broker.Returner].
func (c *consumer) Hold(ctx context.Context, acknowledged ...broker.Delivery) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for _, d := range acknowledged {
		m, err := returned(d)
		if err != nil {
			return err
		}
		c.b.leases[d.Tag] = &lease{tag: d.Tag, message: m, list: d.Queue, until: time.Now().Add(c.b.VisibilityTimeout)}
	}
	return nil
}

// returned is the message of a delivery that has been settled.
func returned(d broker.Delivery) (*message, error) {
	var r protocol.Received
	d.Read(&r)
	m, err := r.Message()
	return &message{
		Message: m, info: protocol.Info{Exchange: string(r.Exchange), RoutingKey: string(r.RoutingKey), Redelivered: r.Redelivered},
	}, err
}

// Extend implements [broker.Consumer].
func (c *consumer) Extend(ctx context.Context, tags ...string) (lost []string, err error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.expire()
	for _, tag := range tags {
		if l := c.b.leases[tag]; l != nil {
			l.until = time.Now().Add(c.b.VisibilityTimeout)
		} else {
			lost = append(lost, tag)
		}
	}
	return lost, nil
}

// forEver is how long a lease lasts that does not end by itself.
const forEver = 100 * 365 * 24 * time.Hour

// Lease implements [broker.Leaser]: the broker is never out of touch.
func (c *consumer) Lease() broker.Lease { return broker.Lease{Until: time.Now().Add(forEver)} }

// LeaseLasts implements [broker.Leaser].
func (c *consumer) LeaseLasts() time.Duration { return cmp.Or(c.b.VisibilityTimeout, forEver) }

// Lapsed implements [broker.Leaser].
func (c *consumer) Lapsed() <-chan struct{} { return nil }

// Beat implements [broker.Leaser].
func (c *consumer) Beat() {}

// Started implements [broker.Starter].
func (c *consumer) Started(ctx context.Context, tags ...string) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for _, tag := range tags {
		if l := c.b.leases[tag]; l != nil {
			l.started = true
		}
	}
	return nil
}

func (c *consumer) usable(ctx context.Context) error {
	if c.isClosed() {
		return broker.ErrClosed
	}
	return ctx.Err()
}

// Close implements [broker.Consumer].
func (c *consumer) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}
