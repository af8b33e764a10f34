package amqpbroker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
)

// DeadLetters reads and moves the dead letters of a virtual host. RabbitMQ shows messages only to those who take them:
// each operation takes what it has to look at, from the oldest on, and gives back what stays, to its old place. Who looks
// at the same time finds less.
type DeadLetters struct {
	m     *Management
	lines lines // replayed letters go out on
}

var _ broker.DeadLetters = (*DeadLetters)(nil)

// OpenDeadLetters connects. It fails if RabbitMQ cannot be reached now.
func OpenDeadLetters(ctx context.Context, cfg ManagementConfig) (*DeadLetters, error) {
	m, err := OpenManagement(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &DeadLetters{m: m, lines: newLines(m.holder)}, nil
}

// Close ends the connection.
func (d *DeadLetters) Close() error { return d.m.Close() }

// Count implements [broker.DeadLetters].
func (d *DeadLetters) Count(ctx context.Context) (n int, err error) {
	err = d.m.ask(ctx, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(lettersQueue, true, false, false, false, nil)
		n = q.Messages
		return err
	})
	return n, unlessMissing(err)
}

// unlessMissing is an error, unless it says that there is no such queue.
func unlessMissing(err error) error {
	switch {
	case err == nil || isMissing(err):
		return nil
	case rabbitconn.Code(err) != 0:
		return fmt.Errorf("dead letters: %s", rabbitconn.Describe(err))
	}
	return fmt.Errorf("dead letters: %w", err)
}

// next is what becomes of a letter that was looked at, and of the look.
type next struct {
	gone bool // it was acknowledged
	last bool // enough was seen
}

// walk calls visit with one letter after the other, until it says that it has seen enough. What visit has not acknowledged
// is back when walk returns; after an error it goes back with the channel.
func (d *DeadLetters) walk(ctx context.Context, visit func(ch *amqp.Channel, message *amqp.Delivery) (next, error)) error {
	return unlessMissing(d.m.ask(ctx, func(ch *amqp.Channel) error {
		// What is given back or put there meanwhile is not gone through again.
		q, err := ch.QueueDeclarePassive(lettersQueue, true, false, false, false, nil)
		if err != nil {
			return err
		}
		left, held := q.Messages, false
		for range q.Messages {
			if err := ctx.Err(); err != nil {
				return err
			}
			message, ok, err := ch.Get(lettersQueue, false)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			then, err := visit(ch, &message)
			if err != nil {
				return err
			}
			if then.gone {
				left--
			}
			held = held || !then.gone
			if then.last {
				break
			}
		}
		if !held {
			return nil
		}
		return giveBackLetters(ctx, ch, left)
	}))
}

// giveBackPause bounds how long is waited until letters are back: somebody else may have taken them by then.
const giveBackPause = time.Second

// giveBackLetters has what was taken on a channel, and not acknowledged, be back in its place: the queue has it some time after it
// was told, and who looks before then finds less than all, which are so many.
func giveBackLetters(ctx context.Context, ch *amqp.Channel, all int) error {
	if err := ch.Nack(0, true, true); err != nil { // 0: all
		return err
	}
	for deadline := time.Now().Add(giveBackPause); time.Now().Before(deadline) && ctx.Err() == nil; {
		q, err := ch.QueueDeclarePassive(lettersQueue, true, false, false, false, nil)
		if err != nil || q.Messages >= all {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// IDs implements [broker.DeadLetters].
func (d *DeadLetters) IDs(ctx context.Context, offset, limit int) (ids []string, err error) {
	err = d.some(ctx, offset, limit, func(message *amqp.Delivery) { ids = append(ids, letterID(message)) })
	return ids, err
}

// List implements [broker.DeadLetters].
func (d *DeadLetters) List(ctx context.Context, offset, limit int) ([]broker.Letter, error) {
	letters := []broker.Letter{}
	err := d.some(ctx, offset, limit, func(message *amqp.Delivery) { letters = append(letters, letter(message)) })
	return letters, err
}

func (d *DeadLetters) some(ctx context.Context, offset, limit int, see func(*amqp.Delivery)) error {
	if limit == 0 {
		return nil
	}
	place := -1
	return d.walk(ctx, func(_ *amqp.Channel, message *amqp.Delivery) (next, error) {
		if place++; place >= offset {
			see(message)
		}
		return next{last: limit >= 0 && place+1 >= offset+limit}, nil
	})
}

// Get implements [broker.DeadLetters].
func (d *DeadLetters) Get(ctx context.Context, id string) (found broker.Letter, err error) {
	missing := true
	err = d.walk(ctx, func(_ *amqp.Channel, message *amqp.Delivery) (next, error) {
		if missing = letterID(message) != id; !missing {
			found = letter(message)
		}
		return next{last: !missing}, nil
	})
	if err == nil && missing {
		err = fmt.Errorf("%q: %w", id, broker.ErrNoLetter)
	}
	return found, err
}

// Drop implements [broker.DeadLetters].
func (d *DeadLetters) Drop(ctx context.Context, ids ...string) (dropped []string, err error) {
	return d.take(ctx, ids, func(*amqp.Delivery) error { return nil })
}

// Replay implements [broker.DeadLetters]. A letter leaves when the broker has confirmed that the message is in its queue: if
// the connection breaks in between, it is in both.
func (d *DeadLetters) Replay(ctx context.Context, ids ...string) (replayed []string, err error) {
	return d.take(ctx, ids, func(message *amqp.Delivery) error { return d.replay(ctx, message) })
}

func (d *DeadLetters) replay(ctx context.Context, message *amqp.Delivery) error {
	_, l, _ := letterOf(message)
	if l.Queue == "" {
		return fmt.Errorf("%s: Apium has not put it there, and it is not known which queue it is from", letterID(message))
	}
	out := &outgoing{key: l.Queue, mandatory: true, Publishing: republication(message)}
	delete(out.Headers, letterHeader)
	line, err := d.lines.get(ctx)
	if err != nil {
		return err
	}
	if err := line.send(ctx, []*outgoing{out}); err != nil {
		return err
	}
	switch accepted, returned := line.accepted(out); {
	case returned:
		return fmt.Errorf("there is no queue %q", l.Queue)
	case accepted:
		return nil
	}
	return cmp.Or(line.refusal(), fmt.Errorf("queue %q does not take it", l.Queue))
}

// take acknowledges letters when something has been done with them.
func (d *DeadLetters) take(ctx context.Context, ids []string, do func(*amqp.Delivery) error) (taken []string, err error) {
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	var failed []error
	err = d.walk(ctx, func(ch *amqp.Channel, message *amqp.Delivery) (next, error) {
		id := letterID(message)
		if !wanted[id] {
			return next{}, nil
		}
		if err := do(message); err != nil {
			if ch.IsClosed() || ctx.Err() != nil || rabbitconn.Code(err) == amqp.AccessRefused {
				return next{}, err
			}
			failed = append(failed, err)
			return next{}, nil // others may do
		}
		if err := message.Ack(false); err != nil {
			return next{}, err
		}
		taken = append(taken, id)
		delete(wanted, id)
		return next{gone: true, last: len(wanted) == 0}, nil
	})
	return taken, errors.Join(append([]error{err}, failed...)...)
}

// letterID is that of a letter, or made of the message where somebody else has put it there.
func letterID(message *amqp.Delivery) string {
	if id, _, _ := letterOf(message); id != "" {
		return id
	}
	sum := fnv.New64a()
	_, _ = sum.Write(slices.Concat([]byte(message.CorrelationId), []byte{0}, message.Body)) // it never fails
	return strconv.FormatUint(sum.Sum64(), 16)
}

func letter(message *amqp.Delivery) broker.Letter {
	_, l, hostname := letterOf(message)
	name, id := taskOf(message)
	return broker.Letter{
		ID: letterID(message), Queue: l.Queue, Reason: l.Reason, Time: l.At.UTC(), Hostname: hostname, Task: name, TaskID: id,
		Redeliveries: l.Redeliveries, Raw: l.Text(),
	}
}

// taskOf is what a message says of its task, in its headers or, as of protocol 1, in its body.
func taskOf(message *amqp.Delivery) (name, id string) {
	name, _ = message.Headers["task"].(string)
	id, _ = message.Headers["id"].(string)
	if name != "" || message.ContentType != "application/json" {
		return name, id
	}
	var body struct{ Task, ID string }
	if json.Unmarshal(message.Body, &body) != nil {
		return "", ""
	}
	return body.Task, body.ID
}

// letterOf reads the header of a dead letter. A message without it was put there by somebody else.
func letterOf(d *amqp.Delivery) (id string, l broker.DeadLetter, hostname string) {
	table, _ := d.Headers[letterHeader].(amqp.Table)
	id, _ = table["id"].(string)
	l.Queue, _ = table["queue"].(string)
	l.Reason, _ = table["reason"].(string)
	hostname, _ = table["hostname"].(string)
	at, _ := table["time"].(int64)
	redeliveries, _ := table["redeliveries"].(int64)
	l.At, l.Redeliveries = time.UnixMilli(at), int(redeliveries)
	message := *d
	message.Headers = maps.Clone(d.Headers)
	delete(message.Headers, letterHeader)
	l.Content = content(&message)
	return id, l, hostname
}
