package membroker

import "github.com/apium/apium/broker"

// Bypasser implements [broker.Bypassers].
func (c *consumer) Bypasser(p broker.Publisher) broker.Bypasser {
	if to := broker.PublisherAs[*publisher](p); to == nil || to.b != c.b {
		return nil
	}
	return c
}

// Bypass implements [broker.Bypasser].
func (c *consumer) Bypass(m *broker.Publication) (d broker.Delivery, ok bool) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if !c.waits || c.isClosed() || m.ExchangeType == broker.Fanout {
		return d, false
	}
	queues, err := c.b.route(*m)
	if err != nil || len(queues) != 1 {
		return d, false
	}
	for _, s := range c.cycle {
		for _, list := range c.b.queue(s.list) {
			if len(list) > 0 {
				return d, false
			}
		}
		if s.list == queues[0] {
			d, ok = broker.Delivery{Queue: s.Name, Content: published(*m).content()}, true
		}
	}
	return d, ok
}
