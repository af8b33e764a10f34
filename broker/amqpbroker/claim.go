package amqpbroker

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
)

// buffer holds what was delivered and not claimed, in the broker's order. All is of the present link.
type buffer struct {
	waiting []*delivery // from head on
	head    int
}

func (b *buffer) put(d *delivery) {
	if len(b.waiting) == cap(b.waiting) && 2*b.head >= len(b.waiting) {
		n := copy(b.waiting, b.waiting[b.head:])
		clear(b.waiting[n:])
		b.waiting, b.head = b.waiting[:n], 0
	}
	d.buffered = true
	b.waiting = append(b.waiting, d)
	// Each consumer's messages come by a way of their own, and may overtake one another.
	for i := len(b.waiting) - 1; i > b.head && b.waiting[i-1].DeliveryTag > d.DeliveryTag; i-- {
		b.waiting[i], b.waiting[i-1] = b.waiting[i-1], d
	}
}

func (b *buffer) len() int { return len(b.waiting) - b.head }

// take moves up to limit deliveries out of the buffer, but none of queues to do without.
func (b *buffer) take(limit int, without func(queue string) bool) []*delivery {
	if without != nil {
		return b.choose(limit, without)
	}
	n := min(limit, b.len())
	taken := make([]*delivery, n)
	copy(taken, b.waiting[b.head:])
	clear(b.waiting[b.head : b.head+n])
	if b.head += n; b.head == len(b.waiting) {
		b.waiting, b.head = b.waiting[:0], 0
	}
	return taken
}

func (b *buffer) choose(limit int, without func(queue string) bool) (taken []*delivery) {
	return b.remove(func(d *delivery) bool {
		return len(taken) < limit && !without(d.sub.source.Name)
	}, &taken)
}

// remove moves those out of the buffer that are wanted.
func (b *buffer) remove(wanted func(*delivery) bool, taken *[]*delivery) []*delivery {
	left := b.waiting[:b.head]
	for _, d := range b.waiting[b.head:] {
		if wanted(d) {
			*taken = append(*taken, d)
		} else {
			left = append(left, d)
		}
	}
	clear(b.waiting[len(left):])
	b.waiting = left
	return *taken
}

func (b *buffer) clear() {
	clear(b.waiting)
	b.waiting, b.head = b.waiting[:0], 0
}

// receive takes what a subscription delivers, until the subscription or its link ends.
func (c *Consumer) receive(sub *subscription, deliveries <-chan amqp.Delivery) {
	defer close(sub.ended)
	for d := range deliveries {
		arrived := &delivery{Delivery: d, link: sub.link, sub: sub, since: time.Now()}
		arrived.restore()
		arrived.unpark()
		c.arrive(arrived)
	}
}

func (c *Consumer) arrive(d *delivery) {
	c.mu.Lock()
	if c.link != d.link {
		c.mu.Unlock()
		return // the broker has it back
	}
	d.link.add(d)
	d.sub.outstanding++
	d.sub.source.counts = d.sub.source.counts || d.counted
	if d.sub.notes != nil {
		d.sub.notes.take(d)
		c.mu.Unlock()
		return
	}
	if m := d.link.holdOf(d); m != nil {
		c.mu.Unlock()
		c.replace(m)
		return
	}
	switch {
	case d.notes == "", d.isHeld() && d.notes == d.sub.holding.notes(), c.hasParked(d):
		c.enter(d)
	case d.ofTransfer():
		c.doubt(d)
	default:
		c.mu.Unlock()
		c.returning.Go(func() { c.dropOrEnter(d) })
	}
}

// enter has a message claimed that has arrived, or joins it to the task that runs. c.mu is held, and not any more.
func (c *Consumer) enter(d *delivery) {
	if c.unheld.Load() { // what the broker counts is better than nothing
		d.redeliveries = max(d.redeliveries, redeliveries(d.Headers))
	}
	if d.Redelivered && c.orphans.any() {
		if o := c.orphans.match(d); o != nil {
			c.more()
			c.mu.Unlock()
			c.inherited(o, d)
			return
		}
	}
	c.buffer.put(d)
	c.mu.Unlock()
	signal(c.arrived)
}

// Claim implements [broker.Consumer].
func (c *Consumer) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	return c.ClaimWithout(ctx, limit, nil)
}

// ClaimWithout implements [broker.Chooser]: what comes of the queues to do without stays in the
// buffer.
func (c *Consumer) ClaimWithout(ctx context.Context, limit int, without func(queue string) bool) ([]broker.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("amqpbroker: claim of %d messages", limit)
	}
	for {
		if err := c.usable(ctx); err != nil {
			return nil, err
		}
		c.mu.Lock()
		taken, failed := c.buffer.take(limit, without), c.failed
		for _, d := range taken {
			d.buffered = false
		}
		if c.sources.room = 0; len(taken) == 0 {
			c.sources.room = limit
			c.more()
		}
		c.mu.Unlock()
		if len(taken) > 0 {
			return c.claimed(taken), nil
		}
		if failed != nil {
			return nil, failed
		}
		select {
		case <-c.arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Consumer) claimed(taken []*delivery) []broker.Delivery {
	claimed := make([]broker.Delivery, len(taken))
	for i, d := range taken {
		claimed[i] = broker.Delivery{
			Tag: d.tag(), Queue: d.sub.source.Name, Content: content(&d.Delivery), Term: d.link.term, Unparked: d.unparked,
			Redeliveries: d.redeliveries,
		}
	}
	if c.cfg.OnClaim != nil {
		c.cfg.OnClaim(len(claimed))
	}
	return claimed
}

// redeliveries is how often a message went back, as far as the broker says it: of quorum queues, where it also
// counts what nobody had started. Of classic ones it only says whether.
func redeliveries(headers amqp.Table) int {
	switch n := headers["x-delivery-count"].(type) {
	case int64:
		return int(n)
	case int32:
		return int(n)
	}
	return 0
}
