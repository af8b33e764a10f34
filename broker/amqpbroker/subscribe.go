package amqpbroker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/protocol"
)

var _ broker.Broadcaster = (*Publisher)(nil)

// Broadcast sends messages to all who listen, in order, and waits until the broker has confirmed them. What it
// forbids is refused.
func (p *Publisher) Broadcast(ctx context.Context, messages ...broker.Publication) error {
	if len(messages) == 0 {
		return nil
	}
	everybody := make([]broker.Publication, len(messages))
	for i := range messages {
		everybody[i] = messages[i]
		everybody[i].ExchangeType = broker.Fanout
	}
	all, err := p.outgoing(everybody)
	if err != nil {
		return err
	}
	return p.publish(ctx, &p.talk, everybody, all)
}

// Subscribe hears what is sent to an exchange until ctx is done or the publisher is closed, by a queue that is
// declared as Celery's are. It starts again after every failure: if the queue belongs to another connection,
// that of a worker of the same name or of one whose end the broker has not noticed yet, every few seconds.
// A connection that is there again within two seconds is not worth telling OnState: whoever consumes tells of it. Nor is a
// channel that the broker has closed, or a queue that was deleted, if there is another one at once.
func (p *Publisher) Subscribe(ctx context.Context, s broker.Subscription) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	state := s.OnState
	if state == nil {
		state = func(bool, error) {}
	}
	locked, heard := false, false
	for {
		heard = false
		began := time.Now()
		err := p.hear(ctx, s, func() {
			locked, heard = false, true
			state(true, nil)
		})
		var lost *lostError
		pause := time.Second
		switch {
		case p.ctx.Err() != nil || errors.Is(err, broker.ErrClosed):
			return broker.ErrClosed
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &lost):
			if heard {
				pause = 0
			}
			if !p.soonBack(ctx) {
				state(false, err)
			}
		case heard:
			pause -= time.Since(began)
		case rabbitconn.Code(err) == amqp.ResourceLocked:
			if pause = lockedPause; !locked {
				locked = true
				p.log.Warn(fmt.Sprintf(inUse, strings.TrimSuffix(s.Queue, "."+s.Exchange))+fmt.Sprintf(" Trying again every %v", lockedPause),
					logline.EventKey, "Queue belongs to another connection", "queue", s.Queue, "error", err)
			}
		case rabbitconn.Code(err) != 0:
			pause = lockedPause
			state(false, errors.New(rabbitconn.Describe(err)))
		default:
			state(false, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// lostError says that nothing is heard because the connection is lost.
type lostError struct{ error }

func (c *lostError) Error() string { return rabbitconn.Describe(c.error) }
func (c *lostError) Unwrap() error { return c.error }

// quiet is how long a lost connection may take to be there again before anybody is told.
const quiet = 2 * time.Second

// soonBack waits for the connection to be made again, and tells whether it is.
func (p *Publisher) soonBack(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	_, err := p.hearing.Get(ctx)
	return err == nil
}

// inUse is what kombu says of two nodes of one name.
const inUse = "A node named %s is already using this process mailbox! Maybe you forgot to shutdown the other node or did not do so properly? " +
	"Or if you meant to start multiple nodes on the same host please make sure you give each node a unique node name!"

// hear hears what one channel brings. It returns when that is lost, or ctx is done.
func (p *Publisher) hear(ctx context.Context, s broker.Subscription, heard func()) error {
	l, err := p.listen(ctx, s.Queue, p.exchange(s.Exchange), s.BindingKey)
	if err != nil {
		return err
	}
	defer l.close()
	heard()
	for {
		select {
		case d, ok := <-l.deliveries:
			if !ok {
				return l.lost()
			}
			s.Handle(d.RoutingKey, content(&d))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listener consumes a queue of one's own.
type listener struct {
	conn       *rabbitconn.Connection
	ch         *amqp.Channel
	tag        string
	deliveries <-chan amqp.Delivery
	closes     <-chan *amqp.Error
}

// listen declares a queue, binds it to an exchange and consumes it, on a channel of its own. ctx bounds the
// wait for a connection.
func (p *Publisher) listen(ctx context.Context, queue string, at exchange, key string) (*listener, error) {
	conn, err := p.hearing.Get(ctx)
	if err != nil {
		return nil, closedError(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, lostWith(conn, err)
	}
	l := &listener{conn: conn, ch: ch, tag: "apium." + protocol.NewID(), closes: ch.NotifyClose(make(chan *amqp.Error, 1))}
	if l.deliveries, err = p.open(ch, l.tag, queue, at, key); err != nil {
		_ = ch.Close() // it is of no use
		return nil, lostWith(conn, err)
	}
	return l, nil
}

// lostWith is an error, or lostError if there is no connection any more.
func lostWith(conn *rabbitconn.Connection, err error) error {
	if conn.IsClosed() {
		return &lostError{err}
	}
	return err
}

func (p *Publisher) open(ch *amqp.Channel, tag, queue string, at exchange, key string) (<-chan amqp.Delivery, error) {
	box := p.cfg.Control
	if at.kind == broker.Topic {
		box = p.cfg.Events
	}
	if err := at.declare(ch); err != nil {
		return nil, err
	}
	if queue == "" { // not one that the broker names: rights are given by names
		queue = cmp.Or(box.Prefix, at.name) + "." + protocol.NewID()
	}
	declared, err := ch.QueueDeclare(queue, box.Durable, !box.Durable, !box.Shared && !box.Durable, false, box.arguments())
	if err != nil {
		return nil, err
	}
	if err := ch.QueueBind(declared.Name, key, at.name, false, nil); err != nil {
		return nil, err
	}
	return ch.Consume(declared.Name, tag, true, false, false, false, nil)
}

// arguments are those of a mailbox, in milliseconds.
func (m Mailbox) arguments() amqp.Table {
	t := amqp.Table{}
	if m.Expires > 0 {
		t["x-expires"] = narrow(m.Expires.Milliseconds())
	}
	if m.TTL > 0 {
		t["x-message-ttl"] = narrow(m.TTL.Milliseconds())
	}
	return t
}

// close takes the queue away, unless it is durable.
func (l *listener) close() {
	if l.conn.IsClosed() {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.ch.Cancel(l.tag, false) // what fails ends with the connection
		_ = l.ch.Close()
	}()
	for {
		select {
		case <-l.deliveries: // Cancel waits for who reads
		case <-done:
			return
		case <-time.After(farewell):
			return
		}
	}
}

// lost tells why the channel was lost.
func (l *listener) lost() error {
	select {
	case err := <-l.closes:
		if err != nil {
			return lostWith(l.conn, err)
		}
	case <-time.After(farewell): // the queue was deleted: that is no error of the channel
	}
	return errors.New("the queue was deleted, or its connection was closed")
}
