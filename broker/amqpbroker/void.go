package amqpbroker

import (
	"context"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/rabbitconn"
)

// AMQP has no step in which a copy comes to stand for its message. So before the copy a note is published, to a queue of this consumer's
// own, which delivers it to here: the message is still there. Note and message are acknowledged in one write, which a worker that is killed has
// made or has not. If it has not, message, copy and note go back; whoever gets the copy then looks for the note, and drops the copy. Neither
// results nor clocks are needed for that, the message may run elsewhere meanwhile, and one that was sent again under the same id is
// another message.
//
// Of all that can happen to the write, and to the broker, nothing leaves a note where there is no message: the note is
// acknowledged first, and is not kept on disk. Where a note is missing, a task runs twice: all that was held since the broker has last
// written down what was acknowledged, if it is killed. Notes on disk would be worse. Their queue has nothing else to write, and a broker that was
// killed has had them back in nine of ten cases without their messages: whoever got the copies then would drop them (docs/torture.md).

// declareNotes makes a queue for notes, which are lost when the broker is restarted.
func declareNotes(ch *amqp.Channel, name string) error {
	_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "classic", "x-expires": narrow(holdExpires.Milliseconds())})
	return err
}

// note is the note that a copy's message is not acknowledged yet.
func (h *holding) note(m *hold) *outgoing {
	return &outgoing{Publishing: amqp.Publishing{DeliveryMode: amqp.Transient, MessageId: m.id, CorrelationId: m.id}, key: h.notes(), mandatory: true}
}

// isNote tells whether a delivery is a note.
func (d *delivery) isNote() bool { return d.isHeld() && d.sub == d.sub.holding.noted }

// dropOrEnter sees to a copy that has gone back: it is dropped if its message has gone back, too.
func (c *Consumer) dropOrEnter(d *delivery) {
	if void, known, err := c.isVoid(d); known {
		c.judge(d, void, err)
	} // else the broker has it back, or will
}

// judge sees to a copy as soon as it is known whether its message is there, too.
func (c *Consumer) judge(d *delivery, void bool, err error) {
	if err != nil {
		c.log.Warn(fmt.Sprintf("It is not known whether task %s[%s] is there twice: %s", text(d.Headers, "task"), d.CorrelationId, rabbitconn.Describe(err)),
			logline.EventKey, "Notes about a copy cannot be read", "task_id", d.CorrelationId, "error", err)
	}
	if void {
		c.log.Info(fmt.Sprintf("Task %s[%s] was there twice, as a worker ended that had published a copy of it: one message is dropped", text(d.Headers, "task"), d.CorrelationId),
			logline.EventKey, "A copy is dropped", "task_id", d.CorrelationId)
		c.settle(nil, []*delivery{d}, nil)
		return
	}
	c.mu.Lock()
	if c.link != d.link || d.link.open[d.DeliveryTag] != d || d.leaving {
		c.mu.Unlock()
		return // the broker has it back
	}
	c.enter(d)
}

// isVoid tells whether the message of a copy is still there. That is not known if the link is lost meanwhile, or the consumer closed.
func (c *Consumer) isVoid(d *delivery) (void, known bool, err error) {
	c.mu.Lock()
	void = slices.Contains(c.orphans.void, d.held)
	c.mu.Unlock()
	if void {
		return true, true, nil
	}
	if d.isHeld() { // it has come at once, and the queue for notes may not know yet that the link is lost
		if _, known, err := c.lookAt(d.link, d.notes, unused); err != nil || !known {
			return false, known, err
		}
	}
	left, err := c.readNotes(d.link, d.notes)
	return slices.Contains(left, d.held), true, err
}

// readNotes are the notes in a queue that is not consumed, or not there.
func (c *Consumer) readNotes(l *link, queue string) (ids []string, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, holdPatience)
	defer cancel()
	if err := c.looking.take(ctx); err != nil {
		return nil, err
	}
	defer c.looking.leave()
	conn := l.conn // one that nothing is published on, and so is not blocked
	err = alone(ctx, conn, queue+".reader", func() error {
		return conn.Aside(func(ch *amqp.Channel) error { // what it has read goes back as it ends
			for {
				note, ok, err := ch.Get(queue, false)
				if err != nil || !ok {
					return err
				}
				ids = append(ids, note.MessageId)
			}
		})
	})
	if rabbitconn.Code(err) == amqp.NotFound {
		return nil, nil
	}
	return ids, err
}
