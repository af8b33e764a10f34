package amqpbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

// errUnsure says that it is not known whether the broker has a message, as the connection was lost.
var errUnsure = errors.New("the connection was lost")

// publish publishes messages until each is confirmed, or ctx is done, and returns those that are not. What it is not known of whether the broker has it is
// published once more, and may be there twice, or else the error has errUnsure. An error with ErrUnroutable says that no queue gets one of them.
func (e *elsewhere) publish(ctx context.Context, pending []*outgoing, twice bool) (left []*outgoing, err error) {
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
		pending = slices.DeleteFunc(slices.Clone(pending), func(m *outgoing) bool { // what is sent now is the line's, too
			accepted, returned := l.accepted(m)
			if returned {
				err = fmt.Errorf("publish to %s: %w", address(m), broker.ErrUnroutable)
			}
			return accepted && !returned
		})
		switch why := l.refusal(); {
		case err != nil:
			return pending, err
		case why != nil:
			err = describe(why)
		case !twice && len(pending) > 0 && l.lost():
			err = errUnsure
		}
	}
	if err != nil && len(pending) > 0 {
		err = fmt.Errorf("publish to %s: %w", address(pending[0]), closedError(err))
	}
	return pending, err
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
// meanwhile comes again, and is there twice, unless there is a transfer: then the error may be errUnsure. An unroutable message has prepare called, once more.
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
	left, err := c.elsewhere.publish(ctx, all, t == nil)
	if errors.Is(err, broker.ErrUnroutable) { // where they go was deleted, or never there
		if err = prepare(ctx); err == nil {
			_, err = c.elsewhere.publish(ctx, left, t == nil)
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
