package amqpbroker

import (
	"context"
	"fmt"

	"github.com/apium/apium/broker"
)

// AddQueue implements [broker.Queues]. Without a connection the queue is declared as soon as there is
// one.
func (c *Consumer) AddQueue(ctx context.Context, q broker.Queue) error {
	if err := validQueue(q); err != nil {
		return fmt.Errorf("amqpbroker: %w", err)
	}
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	for _, s := range c.sources.all {
		if s.Name == q.Name {
			c.mu.Unlock()
			return nil
		}
	}
	return c.changed(ctx, change{added: c.sources.add(q)})
}

// CancelQueue implements [broker.Queues].
func (c *Consumer) CancelQueue(ctx context.Context, name string) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	s := c.sources.find(name)
	if s == nil {
		c.mu.Unlock()
		return nil
	}
	c.sources.remove(s)
	return c.changed(ctx, change{})
}

// Queues implements [broker.Queues].
func (c *Consumer) Queues() []broker.Queue {
	c.mu.Lock()
	defer c.mu.Unlock()
	queues := make([]broker.Queue, len(c.sources.all))
	for i, s := range c.sources.all {
		queues[i] = s.Queue
	}
	return queues
}
