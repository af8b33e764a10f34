package membroker

import (
	"context"
	"fmt"
	"slices"

	"github.com/apium/apium/broker"
)

// AddQueue implements [broker.Queues].
func (c *consumer) AddQueue(ctx context.Context, q broker.Queue) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	if q.Name == "" {
		return fmt.Errorf("membroker: a queue without a name")
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.add(q)
	return nil
}

func (c *consumer) add(q broker.Queue) {
	if slices.ContainsFunc(c.sources, func(s source) bool { return s.Name == q.Name }) {
		return
	}
	s := source{Queue: q, list: q.Name}
	if q.ExchangeType == broker.Fanout {
		s.list = fmt.Sprintf("%p/%s", c, q.Name)
	}
	c.b.queue(s.list) // makes the tables
	for _, bound := range q.Bound() {
		exchange, binding := bound.Binding()
		if q.ExchangeType == broker.Fanout {
			binding.Queue = s.list
		}
		if !slices.Contains(c.b.bindings[exchange], binding) {
			c.b.bindings[exchange] = append(c.b.bindings[exchange], binding)
		}
	}
	c.sources = append(c.sources, s)
	c.cycle = slices.Clone(c.sources)
	c.b.notify()
}

// CancelQueue implements [broker.Queues].
func (c *consumer) CancelQueue(ctx context.Context, name string) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for _, s := range c.sources {
		exchange, _ := s.Binding()
		if (s.Name == name || s.Alias == name) && s.ExchangeType == broker.Fanout {
			c.b.bindings[exchange] = slices.DeleteFunc(c.b.bindings[exchange], func(b broker.Binding) bool { return b.Queue == s.list })
		}
	}
	c.sources = slices.DeleteFunc(c.sources, func(s source) bool { return s.Name == name || s.Alias == name })
	c.cycle = slices.Clone(c.sources)
	return nil
}

// Queues implements [broker.Queues].
func (c *consumer) Queues() []broker.Queue {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	queues := make([]broker.Queue, len(c.sources))
	for i, s := range c.sources {
		queues[i] = s.Queue
	}
	return queues
}
