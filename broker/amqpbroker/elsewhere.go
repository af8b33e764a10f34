package amqpbroker

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
)

// elsewhere publishes what was delivered somewhere else, before it is acknowledged. It has a
// connection of its own, since the broker may block one that publishes, and opens it when it is
// first needed.
type elsewhere struct {
	holder *rabbitconn.Later
	lines  lines
}

func newElsewhere(rabbit *rabbitconn.Config) elsewhere {
	holder := rabbitconn.HoldLater(rabbit, rabbitconn.Holding{})
	return elsewhere{holder, newLines(holder)}
}

// do calls f with a channel of the connection, which is closed afterwards.
func (e *elsewhere) do(ctx context.Context, f func(ch *amqp.Channel) error) error {
	conn, err := e.holder.Get(ctx)
	if err != nil {
		return closedError(err)
	}
	return conn.Aside(f)
}

// publish publishes messages until each is confirmed, or ctx is done. An error with ErrUnroutable
// says that no queue gets one of them.
func (e *elsewhere) publish(ctx context.Context, pending []*outgoing) (err error) {
	for attempt := 0; err == nil && len(pending) > 0; attempt++ {
		if err = pauseAgain(ctx, e.holder.Closed(), attempt); err != nil {
			break
		}
		var l *line
		if l, err = e.lines.get(ctx); err != nil {
			break
		}
		if err = l.send(ctx, pending); err != nil {
			break
		}
		again := pending[:0:0]
		for _, m := range pending {
			switch accepted, returned := l.accepted(m); {
			case returned:
				return fmt.Errorf("publish to %s: %w", address(m), broker.ErrUnroutable)
			case !accepted:
				again = append(again, m)
			}
		}
		if why := l.refusal(); why != nil {
			err = describe(why)
		}
		pending = again
	}
	if err != nil && len(pending) > 0 {
		return fmt.Errorf("publish to %s: %w", address(pending[0]), closedError(err))
	}
	return err
}

// moved is a delivery on its way elsewhere.
type moved struct {
	tag string
	*delivery
}

// toMove finds deliveries that are still held; the others are lost.
func (c *Consumer) toMove(tags []string) (held []moved, lost []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if d := c.find(tag); d != nil {
			held = append(held, moved{tag, d})
		} else if o := c.orphans.find(tag); o != nil {
			held = append(held, moved{tag, o.was})
		} else {
			lost = append(lost, tag)
		}
	}
	return held, lost
}

// move publishes deliveries elsewhere, and then acknowledges them: so none is lost. What was lost
// meanwhile comes again, and is there twice, unless there is a transfer. An unroutable message has prepare called, once more.
func (c *Consumer) move(ctx context.Context, t *transfer, held []moved, to func(m moved) *outgoing, prepare func(ctx context.Context) error) (lost []string, err error) {
	if len(held) == 0 {
		return nil, nil
	}
	all := make([]*outgoing, len(held))
	tags := make([]string, len(held))
	for i, m := range held {
		all[i], tags[i] = to(m), m.tag
		all[i].mandatory = true
	}
	err = c.elsewhere.publish(ctx, all)
	if errors.Is(err, broker.ErrUnroutable) { // where they go was deleted, or never there
		if err = prepare(ctx); err == nil {
			err = c.elsewhere.publish(ctx, all)
		}
	}
	if err == nil {
		lost, err = c.acknowledge(t, tags)
	}
	if err != nil {
		c.abandon(t)
	}
	return lost, err
}

func tagsOf[D any](deliveries []D, tag func(D) string) []string {
	tags := make([]string, len(deliveries))
	for i, d := range deliveries {
		tags[i] = tag(d)
	}
	return tags
}
