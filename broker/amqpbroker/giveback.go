package amqpbroker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
)

// A quorum queue counts how often each message went back, whether anybody had started it or not, and drops
// it, or makes a dead letter of it, when it was too often: from RabbitMQ 4 on after 20 times unless it is told
// otherwise. So nothing is given back to one: a copy is published, at the end of the queue, and the message is
// acknowledged when the broker has the copy. Should the worker be killed right between the two, both are there, and
// whoever gets the copy drops it (transfer.go).
//
// Other queues count nothing, and have a message back at its old place.

// giveBackPatience is how long is waited until the broker can be published to. Then messages go back that count.
const giveBackPatience = 2 * time.Second

// countsReturns tells whether the queue of a message counts how often it goes back. Of one that is not declared as
// such that is known when a message has gone back once. What is held does not go back to its queue by itself.
func (d *delivery) countsReturns() bool { return d.counted || d.isHeld() || d.sub.source.isQuorum() }

// deliveryCount is the header with which quorum queues tell how often a message went back.
const deliveryCount = "x-delivery-count"

func (s *source) isQuorum() bool { return s.Declaration.Arguments["x-queue-type"] == "quorum" }

// giveBack puts deliveries that nobody can claim back into their queues.
func (c *Consumer) giveBack(ctx context.Context, back []*delivery) {
	var plain, counted []*delivery
	c.mu.Lock()
	for _, d := range back {
		switch {
		case d.leaving:
			continue
		case d.countsReturns():
			counted = append(counted, d)
		default:
			plain = append(plain, d)
		}
		d.leaving = true
	}
	c.mu.Unlock()
	if len(plain) > 0 {
		c.settle(nil, nil, plain)
	}
	if len(counted) == 0 {
		return
	}
	l, err := c.elsewhere.taking(ctx)
	var t *transfer
	if err == nil {
		t, err = c.openTransfer(ctx, l, "")
	}
	if err != nil {
		c.settle(nil, nil, counted)
		return
	}
	if counted = c.stillOpen(counted); len(counted) == 0 {
		c.abandon(t)
		return
	}
	copies := make([]*outgoing, len(counted))
	for i, d := range counted {
		redeliveries := d.redeliveries
		if d.isHeld() {
			redeliveries-- // it was started, and nobody has died of it
		}
		copies[i] = &outgoing{Publishing: d.returned(redeliveries, t.beside()), key: d.sub.source.name, mandatory: true}
	}
	err = l.send(ctx, copies)
	if err != nil || l.lost() && slices.ContainsFunc(copies, func(m *outgoing) bool { return !l.has(m) }) { // they may still arrive
		c.abandon(t)
		if t != nil {
			c.settle(nil, nil, counted)
		}
		return // without a transfer all is left as it is, and goes back with its connection at the latest
	}
	var taken, refused []*delivery
	for i, d := range counted {
		if l.has(copies[i]) {
			taken = append(taken, d)
		} else {
			refused = append(refused, d)
		}
	}
	c.settle(t, taken, refused)
}

// stillOpen are those deliveries whose link is not lost: the others have gone back by themselves.
func (c *Consumer) stillOpen(deliveries []*delivery) []*delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(deliveries, func(d *delivery) bool { return d.link != c.link })
}

// taking returns a line on which the broker takes messages at this moment, or why there is none. A connection is not told
// that it may not publish before it has tried. That is tried with two messages that go nowhere, since the broker takes the
// first one and leaves what follows in the socket until it can take that, too: who gives back does not wait so long.
func (e *elsewhere) taking(ctx context.Context) (*line, error) {
	ctx, cancel := context.WithTimeout(ctx, giveBackPatience)
	defer cancel()
	l, err := e.lines.get(ctx)
	if err != nil {
		return nil, err
	}
	for range 2 {
		probe := &outgoing{key: nowhere, Publishing: amqp.Publishing{DeliveryMode: amqp.Transient}}
		if err := l.send(ctx, []*outgoing{probe}); err != nil {
			return nil, fmt.Errorf("the broker takes no messages: %w", err)
		}
		if accepted, _ := l.accepted(probe); !accepted {
			return nil, cmp.Or(l.refusal(), errors.New("the broker takes no messages"))
		}
	}
	return l, nil
}

// settle acknowledges deliveries of a transfer that are not settled yet, and gives others back as they are. Those whose link is
// lost have gone back.
func (c *Consumer) settle(t *transfer, gone, back []*delivery) {
	l := c.lockLink()
	if l == nil {
		c.mu.Unlock()
		return
	}
	defer l.writing.Unlock()
	gone, back = l.removeOpen(gone), l.removeOpen(back)
	note := l.removeOpen(t.notes())
	c.mu.Unlock()
	l.conn.Together(func() {
		c.write(l, back, false) // before, as what is acknowledged may stand for all up to there
		c.write(l, note, true)
		c.write(l, gone, true)
		if len(note) > 0 {
			_, _ = l.ch.QueueDelete(t.queue, false, false, true) // an error means that the link is lost
		}
	})
}

// removeOpen forgets those deliveries that are not settled yet, and returns them.
func (l *link) removeOpen(deliveries []*delivery) []*delivery {
	open := make([]*delivery, 0, len(deliveries))
	for _, d := range deliveries {
		if d.link == l && l.open[d.DeliveryTag] == d {
			l.remove(d)
			open = append(open, d)
		}
	}
	return open
}

// Requeue implements [broker.Consumer]. The broker has one place for what is given back: where it was before, or on
// quorum queues the end.
func (c *Consumer) Requeue(ctx context.Context, _ broker.Place, deliveries ...broker.Delivery) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	back := make([]*delivery, 0, len(deliveries))
	c.mu.Lock()
	for _, held := range deliveries {
		if d := c.find(held.Tag); d != nil {
			d.buffered, d.running = true, false // nobody settles it besides
			back = append(back, d.recounted(held.Redeliveries))
		} else if _, heir := c.orphans.settle(held.Tag, false); heir != nil {
			back = append(back, heir.recounted(held.Redeliveries))
		}
	}
	c.mu.Unlock()
	c.giveBack(ctx, back)
	return ctx.Err()
}

// recounted has a delivery go back with a number of redeliveries. Only a copy can tell one that is not known of the message already: that comes
// as it came before, so that a worker that is killed meanwhile does not leave it there twice.
func (d *delivery) recounted(redeliveries int) *delivery {
	d.counted = d.counted || redeliveries != d.redeliveries && redeliveries > 0
	d.redeliveries = redeliveries
	if d.isHeld() {
		d.redeliveries++ // what it has as it runs
	}
	return d
}

// giveBackBuffered gives back what has come and was not claimed. Who tends the link does not wait for it.
func (c *Consumer) giveBackBuffered(l *link, which func(*delivery) bool) {
	var back []*delivery
	c.mu.Lock()
	if c.link == l {
		c.buffer.remove(which, &back)
	}
	c.mu.Unlock()
	if len(back) == 0 {
		return
	}
	c.returning.Go(func() { c.giveBack(c.ctx, back) })
}

// drain gives back what has come and was not claimed, before the connection does, which counts.
func (c *Consumer) drain(ctx context.Context) {
	c.mu.Lock()
	l, counts := c.link, false
	for _, s := range c.sources.all {
		counts = counts || s.counts
	}
	c.mu.Unlock()
	if l == nil || !counts {
		return
	}
	c.SetPrefetch(0)
	c.mu.Lock()
	if c.changed(ctx, change{}) != nil {
		return
	}
	c.giveBackBuffered(l, func(*delivery) bool { return true })
	returned := make(chan struct{})
	go func() {
		c.returning.Wait()
		close(returned)
	}()
	select {
	case <-returned:
	case <-ctx.Done():
	}
}
