package redisbroker

import (
	"context"
	"errors"

	"github.com/apium/apium/broker"
)

// A fanout queue is fed by a subscription: what we hear is put into a queue of our own,
// from which Claim takes it like any other message. So it has its priority, its turn
// and its lease, may be parked or requeued, and does not gather in our memory when all
// slots are busy. kombu delivers it at once and registers it in unacked; a restored one
// goes to a list that nobody reads. Here it comes back for as long as we live. When a
// worker dies, its private queues go with it (see buryScript).

// hear starts the goroutine that feeds a fanout queue. c.changing is held.
func (c *Consumer) hear(s *source) {
	ctx, cancel := context.WithCancel(c.ctx)
	s.cancel = cancel
	handle := func(_ string, raw []byte) {
		m := read(raw)
		if m.Err != nil {
			c.log.Warn("Cannot process a broadcast message", "queue", s.Name, "error", m.Err, "message", excerpt(raw))
			return
		}
		list := c.keys.list(s.list, c.keys.step(m.Priority))
		if err := c.push(ctx, broker.Back, []move{{lists: []string{list}, raw: raw}}); err != nil && ctx.Err() == nil {
			c.log.Error("Lost a broadcast message", "queue", s.Name, "error", err, "message", excerpt(raw))
		}
	}
	state := func(subscribed bool, err error) {
		if subscribed {
			c.troubles.over(c.log, troubleHear)
		} else {
			c.troubles.report(c.log, troubleHear, err)
		}
	}
	c.wg.Go(func() { listen(ctx, c.redis, c.keys.topic(s.Queue), handle, state) })
}

// unbind takes back the bindings of fanout queues that do not outlive us.
func (c *Consumer) unbind(ctx context.Context, queues ...broker.Queue) error {
	var errs []error
	for _, q := range queues {
		if q.Broadcast && q.ExchangeType == broker.Fanout {
			errs = append(errs, bind(ctx, c.pipe, &c.keys, "SREM", q))
		}
	}
	return errors.Join(errs...)
}
