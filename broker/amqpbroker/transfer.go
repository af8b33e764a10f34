package amqpbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/protocol"
)

// AMQP has no step in which copies come to stand for messages. What is given back as copies, all of it together, is a transfer. It has a queue,
// with a note that the messages are not acknowledged yet, which has come here before the copies are published. Note and messages are acknowledged
// in one write, which a worker that is killed has made or has not; then the queue is deleted. Whoever gets a copy meanwhile waits, as long as that
// queue is consumed, and so by somebody who lives. If nobody consumes it any more and the note is in it again, the messages have gone back, too,
// and the copies are dropped. A note is not kept on disk, where it could outlive its messages (void.go).
//
// A queue for each batch would be dear for what is held, parked or forwarded, one message after the other. Notes about what is parked have one for
// all (parknote.go).

// transfer is such a batch. Nil: there may be no queue, so that nobody can tell.
type transfer struct {
	link  *link
	queue string
	id    string // of its note; "": the queue has no other
	sub   *subscription
	came  chan struct{} // closed when the note has come
	note  *delivery     // nil before; guarded by Consumer.mu
}

// notes are transfers by the ids of their notes, which one queue has. Guarded by Consumer.mu.
type notes map[string]*transfer

// take finds which transfer a note is of. Each comes once.
func (ns notes) take(d *delivery) {
	d.leaving = true
	if t := ns[d.MessageId]; t != nil {
		t.note = d
		close(t.came)
	}
}

// openTransfer begins a transfer of what the present link has delivered. Where that is not permitted, or there is no link, there is none. id is that of
// its note, if that shares a queue with others; else "".
func (c *Consumer) openTransfer(ctx context.Context, on *line, id string) (*transfer, error) {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l == nil || c.unheld.Load() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, holdPatience)
	defer cancel()
	t := &transfer{link: l, queue: holdPrefix + protocol.NewID() + ".notes", id: id, came: make(chan struct{})}
	var err error
	if id == "" {
		err = c.consumeNotes(ctx, t, 1)
	} else {
		err = c.shareNotes(ctx, t)
	}
	if c.mayNotHold(err) {
		return nil, nil
	}
	if err == nil {
		err = t.putNote(ctx, on)
	}
	if err != nil {
		c.abandon(t)
		return nil, fmt.Errorf("transfer: %w", err)
	}
	return t, nil
}

// consumeNotes declares the queue of a transfer, and has it consumed.
func (c *Consumer) consumeNotes(ctx context.Context, t *transfer, credit int) error {
	if err := t.link.conn.Aside(func(ch *amqp.Channel) error { return declareNotes(ch, t.queue) }); err != nil {
		return err
	}
	c.mu.Lock()
	c.tagged++
	t.sub = &subscription{source: &source{}, notes: notes{t.id: t}, link: t.link, queue: t.queue, tag: c.consumerTag(), credit: credit, ended: make(chan struct{})}
	return c.changed(ctx, change{transfer: t})
}

// putNote publishes the note, once, and waits for it.
func (t *transfer) putNote(ctx context.Context, on *line) error {
	note := &outgoing{Publishing: amqp.Publishing{DeliveryMode: amqp.Transient, MessageId: t.id, CorrelationId: t.id}, key: t.queue, mandatory: true}
	if err := on.send(ctx, []*outgoing{note}); err != nil {
		return err
	}
	if !on.has(note) {
		return errors.New("the broker has refused a message")
	}
	select {
	case <-t.came:
		return nil
	case <-t.sub.ended:
	case <-t.link.conn.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return amqp.ErrClosed
}

// consumeTransfer consumes the queue of a transfer on its link. It is tend's.
func (c *Consumer) consumeTransfer(l *link, t *transfer) error {
	if t == nil || t.link != l {
		return nil
	}
	return c.consume(t.sub, t.queue)
}

// abandon ends a transfer that has failed: its copies are of no use. Its messages stay where they are.
func (c *Consumer) abandon(t *transfer) {
	if t == nil || t.sub == nil {
		return
	}
	l := c.lockLink()
	if l == nil {
		c.mu.Unlock()
		return
	}
	defer l.writing.Unlock()
	note := l.removeOpen(t.notes())
	if c.parking == t.sub {
		c.parking = nil // another queue has the next notes
	}
	c.mu.Unlock()
	if t.link == l {
		l.conn.Together(func() {
			_ = l.ch.Cancel(t.sub.tag, true) // an error means that the link is lost
			c.write(l, note, false)
		})
	}
}

// notes is the note, if it has come. c.mu is held.
func (t *transfer) notes() []*delivery {
	if t == nil || t.note == nil {
		return nil
	}
	return []*delivery{t.note}
}

// beside is what its copies say.
func (t *transfer) beside() beside {
	if t == nil {
		return beside{}
	}
	return beside{notes: t.queue}
}

// ofTransfer tells whether a copy that is beside its message belongs to a transfer, and not to a hold.
func (d *delivery) ofTransfer() bool { return d.held == "" || d.unparked }

// doubt keeps a copy back until it is known what became of its message. c.mu is held, and not any more.
func (c *Consumer) doubt(d *delivery) {
	l := d.link
	others, looks := l.doubted[d.notes]
	l.doubted[d.notes] = append(others, d)
	c.mu.Unlock()
	if !looks {
		c.returning.Go(func() { c.judgeAll(l, d.notes, d.unparked) })
	}
}

// judgeAll sees to copies of a transfer as soon as it has ended, or to what was parked with notes in one queue.
func (c *Consumer) judgeAll(l *link, queue string, parked bool) {
	look := c.notesOfTransfer
	if parked {
		look = c.notesOfParked
	}
	left, known, err := look(l, queue)
	c.mu.Lock()
	copies := l.doubted[queue]
	delete(l.doubted, queue)
	c.mu.Unlock()
	if !known {
		return // the broker has them back
	}
	for _, d := range copies {
		c.judge(d, slices.Contains(left, d.held), err)
	}
}

// transferPause is how long is waited at first until it is looked again whether a transfer has ended, and longestPause at last.
const (
	transferPause = 10 * time.Millisecond
	longestPause  = 500 * time.Millisecond
)

// notesOfTransfer is the note of a transfer, if its messages are still there.
func (c *Consumer) notesOfTransfer(l *link, queue string) (left []string, known bool, err error) {
	q, known, err := c.lookAt(l, queue, unused)
	if q.Messages > 0 {
		left = []string{""}
	}
	return left, known, err
}

// unused tells whether nobody consumes a queue.
func unused(q amqp.Queue) bool { return q.Consumers == 0 }

// lookAt waits until a queue for notes is as somebody waits for it to be, or is not there: then it is empty and not consumed. That is not known if the
// link is lost before, or the consumer closed.
func (c *Consumer) lookAt(l *link, queue string, as func(q amqp.Queue) bool) (q amqp.Queue, known bool, err error) {
	err = l.conn.Aside(func(ch *amqp.Channel) error {
		for pause := transferPause; !c.closed.Load(); pause = min(2*pause, longestPause) {
			var err error
			if q, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
				return err
			}
			if as(q) {
				known = true
				return nil
			}
			select {
			case <-time.After(pause):
			case <-l.conn.Done():
				return amqp.ErrClosed
			case <-c.ctx.Done():
				return nil
			}
		}
		return nil
	})
	switch {
	case rabbitconn.Code(err) == amqp.NotFound:
		return amqp.Queue{}, true, nil
	case err != nil && !l.conn.IsClosed():
		return amqp.Queue{}, true, err
	}
	return q, known, nil
}
