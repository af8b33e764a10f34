package amqpbroker

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/protocol"
)

// A message whose task runs may have to leave its queue before the task has ended: because the broker closes the
// channel of who has not acknowledged one for long (consumer_timeout), or because it is to be known, if this worker
// dies of it, that it was started. Then a copy goes to a queue of this consumer's own, which delivers it back to here
// at once, and the message is acknowledged. From then on the copy is what is settled, or replaced by another one
// when it has been held for long, too.
//
// When the consumer's link ends, whatever the reason, its copies are nobody's any more, expire, and so go back to
// the queue that they are from: they are known there by a header (returned.go). Those that its next link finds where they are come to it at once. If
// the link ends before the message was acknowledged, it is there twice: a note says so, and the copy is dropped (void.go).
// A broker that has no time to deliver a copy before it expires sends it back, too: whoever gets it runs the task
// again, but for this consumer, to which it is the copy that it waits for.
//
// Only tasks that are acknowledged late run while their messages are held.

const (
	holdPrefix = "apium.held."
	// holdExpires is for how long the queue stays that has no consumer any more. What it has cannot go back while its
	// queue is not available.
	holdExpires = 6 * time.Hour
	// holdPatience is how long is waited for the broker's answers.
	holdPatience = 10 * time.Second
)

// holding is the queue for copies of a source's messages, as a link consumes it. The next link goes on with the queue, but has notes of its own.
type holding struct {
	link  *link
	name  string
	id    string        // of the link's part in it
	sub   *subscription // guarded by Consumer.mu; nil: it is not consumed yet
	noted *subscription // of the queue for notes; likewise
}

// notes is the queue for notes about the copies.
func (h *holding) notes() string { return h.name + h.id + ".notes" }

// hold is one message on its way to such a queue. Guarded by Consumer.mu.
type hold struct {
	id        string
	from      *delivery
	count     int       // how often the message will have been redelivered when it comes back
	copy      *delivery // nil: it has not come yet
	note      *delivery // that the message is not acknowledged; nil: it has not come yet
	confirmed bool      // the broker has both
	failed    bool      // or not, as far as is known
	done      bool
	ended     chan struct{} // closed when it is done, and what became of the message is written
}

// Started implements [broker.Starter]: a message that had been redelivered before is held from now on, so that it is
// known to have been started if it comes back. ctx bounds how long that is waited for: what takes longer, or fails, goes on,
// as otherwise a queue that is slow to be declared has the broker count the next death, and drop the message after too many.
func (c *Consumer) Started(ctx context.Context, tags ...string) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	var held []*delivery
	for _, tag := range tags {
		if d := c.find(tag); d != nil {
			held = append(held, d)
		} else if o := c.orphans.find(tag); o != nil && o.heir != nil {
			held = append(held, o.heir)
		}
	}
	for _, d := range held {
		d.started = true
	}
	c.mu.Unlock()
	done := make(chan error, 1)
	c.returning.Go(func() {
		err := c.holdAll(c.ctx, held)
		if err != nil {
			c.renewSoon()
		}
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("hold: %w", context.Cause(ctx))
	}
}

// holdAll has copies of messages held in place of them. That this is forbidden is said once, and no error.
func (c *Consumer) holdAll(ctx context.Context, held []*delivery) error {
	of := map[*source][]*delivery{}
	for _, d := range held {
		of[d.sub.source] = append(of[d.sub.source], d)
	}
	var errs []error
	for s, some := range of {
		errs = append(errs, c.holdOf(ctx, s, some))
	}
	return errors.Join(errs...)
}

func (c *Consumer) holdOf(ctx context.Context, s *source, held []*delivery) error {
	if c.unheld.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, holdPatience)
	defer cancel()
	h, err := c.openHolding(ctx, s, held[0].link)
	if c.mayNotHold(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	var holds []*hold
	var copies []*outgoing // each behind its note
	c.mu.Lock()
	for _, d := range held {
		if h.link != c.link || h.link.open[d.DeliveryTag] != d || d.hold != nil {
			continue // it is settled, lost, or on its way
		}
		m := &hold{id: protocol.NewID(), from: d, count: d.redeliveries, ended: make(chan struct{})}
		if !d.isHeld() {
			m.count++
		}
		d.hold, h.link.holds[m.id] = m, m
		holds = append(holds, m)
		copies = append(copies, h.note(m), &outgoing{Publishing: d.returned(m.count, beside{m.id, h.notes()}), key: h.name, mandatory: true})
	}
	c.mu.Unlock()
	if len(holds) == 0 {
		return nil
	}
	if err := c.sendHolds(ctx, holds, copies); !c.mayNotHold(err) {
		return err
	}
	return nil
}

// mayNotHold tells whether an error says that nothing can be held here, which is said once.
func (c *Consumer) mayNotHold(err error) bool {
	if rabbitconn.Code(err) != amqp.AccessRefused && rabbitconn.Code(err) != amqp.PreconditionFailed {
		return false
	}
	if c.unheld.CompareAndSwap(false, true) {
		c.log.Warn("Messages whose tasks run for long cannot be held in a queue of the worker's own, so that consumer_timeout may have them delivered again, "+
			"and how often a message killed its worker is not counted: "+rabbitconn.Describe(err), logline.EventKey, "Messages cannot be held", "error", err)
	}
	return true
}

// sendHolds publishes copies, once, and settles the messages whose copy the broker has.
func (c *Consumer) sendHolds(ctx context.Context, holds []*hold, copies []*outgoing) error {
	line, failed := c.elsewhere.taking(ctx)
	if failed == nil {
		failed = line.send(ctx, copies)
	}
	sent := failed == nil
	for i, m := range holds {
		accepted := sent && line.has(copies[2*i]) && line.has(copies[2*i+1])
		if !accepted && failed == nil {
			failed = errors.New("the broker has refused a message")
		}
		c.mu.Lock()
		m.confirmed, m.failed = accepted, !accepted
		c.mu.Unlock()
		c.replace(m)
	}
	for _, m := range holds {
		if failed != nil {
			return fmt.Errorf("hold: %w", failed)
		}
		select {
		case <-m.ended:
		case <-m.from.link.conn.Done():
			failed = amqp.ErrClosed
		case <-ctx.Done():
			failed = ctx.Err()
		}
	}
	return failed
}

// openHolding declares the queue, and waits until it is consumed on the link.
func (c *Consumer) openHolding(ctx context.Context, s *source, l *link) (*holding, error) {
	if err := c.opening.take(ctx); err != nil {
		return nil, err
	}
	defer c.opening.leave()
	c.mu.Lock()
	h := s.holding
	c.mu.Unlock()
	if h == nil || h.link != l {
		c.mu.Lock()
		args := c.holdArguments(s)
		if kind, _ := args["x-queue-type"].(string); s.held == "" || s.heldAs != kind {
			s.held, s.heldAs = holdPrefix+protocol.NewID(), kind
		}
		h = &holding{link: l, name: s.held, id: "." + protocol.NewID()}
		c.mu.Unlock()
		if err := c.elsewhere.do(ctx, func(ch *amqp.Channel) error {
			return h.declare(ch, args)
		}); err != nil {
			return nil, err
		}
		c.mu.Lock()
		s.holding = h
		c.mu.Unlock()
	}
	c.mu.Lock()
	if h.sub != nil || c.link != l {
		c.mu.Unlock()
		return h, nil
	}
	err := c.changed(ctx, change{})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && h.sub == nil {
		err = errors.New("the queue is not consumed any more")
	}
	return h, err
}

// holdArguments are those of a source's queue for copies, which is as safe as the source's own. c.mu is held.
func (c *Consumer) holdArguments(s *source) amqp.Table {
	args := amqp.Table{
		"x-queue-type": "classic", "x-message-ttl": narrow(c.cfg.holdTTL.Milliseconds()), "x-expires": narrow(holdExpires.Milliseconds()),
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": s.name,
	}
	if s.counts {
		args["x-queue-type"], args["x-dead-letter-strategy"], args["x-overflow"] = "quorum", "at-least-once", "reject-publish"
	}
	return args
}

// declare makes the queues.
func (h *holding) declare(ch *amqp.Channel, args amqp.Table) error {
	err := declareNotes(ch, h.notes())
	if err == nil {
		_, err = ch.QueueDeclare(h.name, true, false, false, false, args)
	}
	return err
}

// subscribeHolding consumes the queues for copies and their notes, if they were declared. It is tend's.
func (c *Consumer) subscribeHolding(l *link, s *source) error {
	c.mu.Lock()
	h := s.holding
	if h == nil || h.link != l || h.sub != nil {
		c.mu.Unlock()
		return nil
	}
	consumed := func() *subscription {
		c.tagged++
		return &subscription{source: s, link: l, tag: c.consumerTag(), holding: h, credit: maxPrefetch, ended: make(chan struct{})}
	}
	h.noted, h.sub = consumed(), consumed()
	c.mu.Unlock()
	if err := c.consume(h.noted, h.notes()); err != nil {
		return err
	}
	return c.consume(h.sub, h.name)
}

// isHeld tells whether a delivery is of a queue for copies.
func (d *delivery) isHeld() bool { return d.sub.holding != nil }

// holdOf finds the hold that a copy, or a note, was published for; nil: it is neither, or a copy that nobody here waits for: it is back in the
// queue that it is from, or was given back to the one for copies while nothing could be published. A copy that was not delivered in time
// comes by the former, too. c.mu is held.
func (l *link) holdOf(d *delivery) *hold {
	if d.isNote() {
		m := l.holds[d.MessageId]
		if m == nil {
			m = &hold{failed: true, ended: make(chan struct{})} // its copy was of no use
		}
		m.note = d
		return m
	}
	m := l.holds[d.held]
	if m != nil {
		m.copy = d
	}
	return m
}

// replace has a copy take the place of its message, once the broker has it and it has come. One that is of no use is
// acknowledged itself.
func (c *Consumer) replace(m *hold) {
	l := c.lockLink()
	if l != nil {
		defer l.writing.Unlock()
	}
	settled := c.orphans.replaced(l, m)
	for _, d := range settled {
		l.remove(d)
	}
	c.mu.Unlock()
	if len(settled) == 0 {
		return
	}
	l.conn.Together(func() {
		for _, d := range settled {
			c.write(l, []*delivery{d}, true)
		}
	})
	close(m.ended) // not before: a task that kills its worker at once would leave the message beside its copy
}

// replaced returns what is to be acknowledged now, in this order: the note and the message, the copy and its note, or nothing yet.
func (os *orphans) replaced(l *link, m *hold) []*delivery {
	if m.failed && m.from != nil {
		m.from.hold = nil // it may be tried again
	}
	came := m.came()
	switch {
	case m.done, l == nil, len(came) == 0, came[0].link != l,
		!m.failed && (!m.confirmed || len(came) < 2), m.failed && m.from != nil && m.copy == nil:
		return nil
	}
	m.done = true
	delete(l.holds, m.id)
	if m.failed || l.open[m.from.DeliveryTag] != m.from { // the message was settled meanwhile
		return came
	}
	os.inherit(m.from, m.copy)
	return []*delivery{m.note, m.from}
}

// came are the copy and the note, as far as they have come.
func (m *hold) came() (came []*delivery) {
	for _, d := range []*delivery{m.copy, m.note} {
		if d != nil {
			came = append(came, d)
		}
	}
	return came
}

// dropHoldings deletes the queues for copies that have none, and the one for notes about what is parked if it has none.
func (c *Consumer) dropHoldings(ctx context.Context) {
	var names []string
	c.mu.Lock()
	if l := c.link; l != nil && len(l.holds) == 0 {
		of := map[*holding]int{}
		for _, d := range l.open {
			of[d.sub.holding]++
		}
		for _, s := range c.sources.all {
			if h := s.holding; h != nil && h.link == l && of[h] == 0 {
				names, s.holding, s.held = append(names, h.name, h.notes()), nil, ""
			}
		}
	}
	if sub := c.parking; sub != nil && sub.link == c.link && len(sub.notes) == 0 {
		names, c.parking = append(names, sub.queue), nil
	}
	c.mu.Unlock()
	if len(names) == 0 {
		return
	}
	_ = c.elsewhere.do(ctx, func(ch *amqp.Channel) error { // else they expire
		for _, name := range names {
			if _, err := ch.QueueDelete(name, false, false, false); err != nil {
				return err
			}
		}
		return nil
	})
}
