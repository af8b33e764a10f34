package amqpbroker

import (
	"context"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/protocol"
)

// What is parked together is a transfer whose note lies in a queue with others, as long as the link lasts and none fails. Whoever has that queue
// consumed lives, and has acknowledged the messages a second before they come; so nobody waits for it. If nobody consumes it, each note in it says of
// one batch that its messages have gone back.
//
// A Python worker that gets what was parked knows nothing of notes.

// parkedHeader is a table of where it can be seen whether the message of what was parked is still there. No task of ours sees it. As for
// returnedHeader, it means nothing in another attempt.
const parkedHeader = "apium-parked"

// openParking begins a transfer of what is to be parked.
func (c *Consumer) openParking(ctx context.Context) (*transfer, error) {
	on, err := c.elsewhere.lines.get(ctx)
	if err != nil {
		return nil, closedError(err)
	}
	return c.openTransfer(ctx, on, protocol.NewID())
}

// shareNotes has the note of a transfer come by the queue for what this link parks, which is declared when it is first needed.
func (c *Consumer) shareNotes(ctx context.Context, t *transfer) error {
	if err := c.opening.take(ctx); err != nil {
		return err
	}
	defer c.opening.leave()
	c.mu.Lock()
	if sub := c.parking; sub != nil && sub.link == t.link && !sub.over() {
		t.queue, t.sub = sub.queue, sub
		sub.notes[t.id] = t
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	if err := c.consumeNotes(ctx, t, maxPrefetch); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parking = t.sub
	return nil
}

// over tells whether nothing comes by a subscription any more.
func (s *subscription) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// parked is a message as it is parked.
func (t *transfer) parked(d *delivery) amqp.Publishing {
	p := republication(&d.Delivery)
	if t == nil {
		return p
	}
	p.Headers = with(p.Headers, parkedHeader, amqp.Table{"notes": t.queue, "note": t.id, "attempt": attempt(d.Headers)})
	return p
}

// readParked reads what parked has written.
func (d *delivery) readParked() {
	if was, _ := d.take(parkedHeader); was != nil {
		d.notes, _ = was["notes"].(string)
		d.held, _ = was["note"].(string)
	}
}

// hasParked tells whether what was parked was so by this consumer itself, which has acknowledged its message since. c.mu is held.
func (c *Consumer) hasParked(d *delivery) bool {
	sub := c.parking
	return d.unparked && sub != nil && sub.queue == d.notes && sub.link == d.link && sub.notes[d.held] == nil
}

// notesOfParked are the notes in a queue for what was parked that nobody consumes.
func (c *Consumer) notesOfParked(l *link, queue string) (left []string, known bool, err error) {
	q, known, err := c.lookAt(l, queue, func(q amqp.Queue) bool {
		return q.Consumers == 0 || q.Messages == 0 // else a note is on its way
	})
	if q.Name == "" || q.Consumers > 0 || !known || err != nil {
		return nil, known, err
	}
	left, err = c.readNotes(l, queue)
	return left, !l.conn.IsClosed() && c.ctx.Err() == nil, err
}
