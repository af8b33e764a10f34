package amqpbroker

import (
	"context"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

// What is settled is written and not confirmed: AMQP has no answer to it. If the connection is lost
// before the broker has read it, the message comes again, to somebody. So what was acknowledged
// early may run twice then, and only then, as with Celery.

// Ack implements [broker.Consumer]. Who has stood still asks first whether the messages are still held: what is acknowledged early is to
// start when it returns.
func (c *Consumer) Ack(ctx context.Context, tags ...string) (lost []string, err error) {
	if err := c.sure(ctx); err != nil {
		return nil, err
	}
	return c.acknowledge(nil, tags)
}

// acknowledge acknowledges what tags name, and before that the note of a transfer, if they are of one. If the transfer's link is lost, nothing is:
// its messages and its note have gone back.
func (c *Consumer) acknowledge(t *transfer, tags []string) (lost []string, err error) {
	if len(tags) == 0 {
		return nil, nil
	}
	l := c.lockLink()
	if l != nil {
		defer l.writing.Unlock()
	}
	var note []*delivery
	if t != nil {
		if t.link != l {
			c.mu.Unlock()
			return nil, amqp.ErrClosed
		}
		note = l.removeOpen(t.notes())
		delete(t.sub.notes, t.id)
	}
	settled := make([]*delivery, 0, len(tags))
	for _, tag := range tags {
		if d := c.find(tag); d != nil {
			l.remove(d)
			settled = append(settled, d)
			continue
		}
		known, heir := c.orphans.settle(tag, true)
		switch {
		case !known:
			lost = append(lost, tag)
		case heir != nil:
			l.remove(heir)
			settled = append(settled, heir)
		}
	}
	c.mu.Unlock()
	switch {
	case len(note) > 0:
		l.conn.Together(func() {
			c.write(l, note, true)
			c.write(l, settled, true)
		})
	case len(settled) > 0:
		c.write(l, settled, true)
	}
	return lost, nil
}

// lockLink locks the present link for writing, if there is one, and c.mu.
func (c *Consumer) lockLink() *link {
	for {
		c.mu.Lock()
		l := c.link
		if l == nil {
			return nil
		}
		c.mu.Unlock()
		l.writing.Lock()
		c.mu.Lock()
		if c.link == l {
			return l
		}
		c.mu.Unlock()
		l.writing.Unlock()
	}
}

// write tells the broker what became of deliveries. l.writing is held, and they are not open any
// more. An error means that the link is lost.
func (c *Consumer) write(l *link, settled []*delivery, ack bool) {
	l.conn.Together(func() {
		if !ack {
			for _, d := range settled {
				_ = l.ch.Reject(d.DeliveryTag, true)
			}
			return
		}
		numbers := make([]uint64, len(settled))
		for i, d := range settled {
			numbers[i] = d.DeliveryTag
		}
		slices.Sort(numbers)
		c.mu.Lock()
		through := l.settledThrough()
		c.mu.Unlock()
		// One acknowledgement stands for all up to there. It must name one that is not settled yet.
		n, _ := slices.BinarySearch(numbers, through+1)
		if n > 0 {
			_ = l.ch.Ack(numbers[n-1], n > 1)
		}
		for _, number := range numbers[n:] {
			_ = l.ch.Ack(number, false)
		}
	})
}
