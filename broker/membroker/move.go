package membroker

import (
	"context"

	"github.com/apium/apium/broker"
)

// Forward implements [broker.Mover].
func (c *consumer) Forward(ctx context.Context, queue string, deliveries ...broker.Delivery) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.expire()
	for _, d := range deliveries {
		if l := c.b.leases[d.Tag]; l != nil {
			delete(c.b.leases, d.Tag)
			c.b.put(queue, broker.Back, l.message)
		}
	}
	return nil
}

// Bury implements [broker.Mover].
func (c *consumer) Bury(ctx context.Context, letters ...broker.DeadLetter) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.expire()
	for _, letter := range letters {
		if c.b.settle(letter.Tag) {
			c.b.buried = append(c.b.buried, letter)
		}
	}
	return nil
}
