package amqpbroker

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/rabbitconn"
)

// declaring declares a queue as kombu does, with what it is bound to. A refusal closes the channel
// it is done on: so that is a channel of its own, and another one after each refusal.
type declaring struct {
	c    *Consumer
	conn *rabbitconn.Connection
	ch   *amqp.Channel // nil: none is open
	s    *source
}

// declare declares a queue unless it must not be.
func (c *Consumer) declare(conn *rabbitconn.Connection, s *source) error {
	if s.Declaration.Skip {
		return nil
	}
	d := declaring{c: c, conn: conn, s: s}
	defer func() {
		if d.ch != nil {
			_ = d.ch.Close() // it has done what it was for
		}
	}()
	for i, bound := range s.Bound() {
		exchange, b := bound.Binding()
		if err := d.exchange(exchange, bound); err != nil {
			return fmt.Errorf("exchange %q: %w", exchange, err)
		}
		if i == 0 {
			if err := d.queue(); err != nil {
				return err
			}
		}
		if err := d.bind(exchange, b.RoutingKey, bound.Declaration.BindingArguments); err != nil {
			return fmt.Errorf("binding to exchange %q: %w", exchange, err)
		}
	}
	s.warned = true
	return nil
}

// do calls f with a channel, which is gone if f fails.
func (d *declaring) do(f func(ch *amqp.Channel) error) error {
	if d.ch == nil {
		ch, err := d.conn.Channel()
		if err != nil {
			return err
		}
		d.ch = ch
	}
	err := f(d.ch)
	if err != nil {
		d.ch = nil
	}
	return err
}

func (d *declaring) exchange(name string, bound broker.Queue) error {
	err := d.do(func(ch *amqp.Channel) error { return declareExchange(ch.ExchangeDeclare, name, bound) })
	if !d.tolerated(err, "Exchange "+name) {
		return err
	}
	return notThere(err, d.do(func(ch *amqp.Channel) error { return declareExchange(ch.ExchangeDeclarePassive, name, bound) }))
}

func (d *declaring) queue() error {
	name, q := d.s.name, d.s.Declaration
	q.AutoDelete = q.AutoDelete || d.s.Broadcast
	err := d.do(func(ch *amqp.Channel) error { return declareNamed(ch.QueueDeclare, name, q) })
	if !d.tolerated(err, "Queue "+name) {
		return err
	}
	return notThere(err, d.do(func(ch *amqp.Channel) error { return declareNamed(ch.QueueDeclarePassive, name, q) }))
}

// notThere says why something was not declared that is not there either.
func notThere(refusal, passive error) error {
	if rabbitconn.Code(passive) == amqp.NotFound {
		return fmt.Errorf("%w, and it is not there", refusal)
	}
	return passive
}

func (d *declaring) bind(exchange, key string, args map[string]any) error {
	err := d.do(func(ch *amqp.Channel) error { return ch.QueueBind(d.s.name, key, exchange, false, arguments(args)) })
	if rabbitconn.Code(err) == amqp.AccessRefused {
		d.warn("Queue "+d.s.name+" cannot be bound to exchange "+exchange+", and is consumed with the bindings that it has", err)
		return nil
	}
	return err
}

// tolerated tells whether what was not declared can be used nevertheless if it is there: somebody has
// declared it with other arguments, or may declare it and we may not.
func (d *declaring) tolerated(err error, what string) bool {
	switch rabbitconn.Code(err) {
	case amqp.PreconditionFailed:
		if rabbitconn.IsInvalid(err) {
			return false
		}
		d.warn(what+" was declared with other arguments than the settings say, and is used as it is", err)
	case amqp.AccessRefused:
		d.warn(what+" must not be declared by this user, and is used if it is there", err)
	default:
		return false
	}
	return true
}

// warn says it once, however often the connection is made again.
func (d *declaring) warn(what string, err error) {
	if !d.s.warned {
		d.c.log.Warn(what+": "+rabbitconn.Describe(err), logline.EventKey, "Not declared as the settings say", "queue", d.s.Name, "error", err)
	}
}

// declareQueue declares a queue as a producer of kombu's does: with its exchanges and bindings.
func declareQueue(ch *amqp.Channel, q broker.Queue) error {
	if q.Declaration.Skip || q.Name == "" || strings.HasPrefix(q.Name, "amq.") {
		return nil
	}
	for i, bound := range q.Bound() {
		exchange, b := bound.Binding()
		if err := declareExchange(ch.ExchangeDeclare, exchange, bound); err != nil {
			return err
		}
		if i == 0 {
			if err := declareNamed(ch.QueueDeclare, q.Name, q.Declaration); err != nil {
				return err
			}
		}
		if err := ch.QueueBind(q.Name, b.RoutingKey, exchange, false, arguments(bound.Declaration.BindingArguments)); err != nil {
			return err
		}
	}
	return nil
}

// declareExchange declares the exchange that a queue is bound to, or looks whether it is there, unless it is not for
// us to declare.
func declareExchange(declare func(name, kind string, durable, autoDelete, internal, noWait bool, args amqp.Table) error, name string, bound broker.Queue) error {
	e := bound.Declaration.Exchange
	if e.Skip || strings.HasPrefix(name, "amq.") {
		return nil
	}
	return declare(name, cmp.Or(bound.ExchangeType, broker.Direct), !e.Transient, e.AutoDelete, false, false, arguments(e.Arguments))
}

// declareNamed declares a queue itself, or looks whether it is there.
func declareNamed(declare func(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error), name string, d broker.Declaration) error {
	_, err := declare(name, !d.Transient, d.AutoDelete || d.Exclusive, d.Exclusive, false, arguments(d.Arguments))
	return err
}

// lockedPause is how long is waited until a queue is tried again that is another connection's alone.
const lockedPause = 5 * time.Second

// locked sees to a queue that is exclusive to another connection: to that of another worker, or of
// an earlier one whose end the broker has not noticed yet. The other queues do not wait for it.
func (c *Consumer) locked(s *source, err error) {
	if !s.locked {
		s.locked = true
		c.log.Warn(fmt.Sprintf("Queue %s belongs to another connection; trying again every %v: %s", s.name, lockedPause, rabbitconn.Describe(err)),
			logline.EventKey, "Queue belongs to another connection", "queue", s.Name, "error", err)
	}
	time.AfterFunc(lockedPause, func() { signal(c.wake) })
}

// arguments are those of a declaration with the types that py-amqp would send.
func arguments(args map[string]any) amqp.Table {
	if args == nil {
		return nil
	}
	table := make(amqp.Table, len(args))
	for name, value := range args {
		table[name] = argument(value)
	}
	return table
}

func argument(value any) any {
	switch v := value.(type) {
	case int:
		return narrow(int64(v))
	case int64:
		return narrow(v)
	case map[string]any:
		return arguments(v)
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = argument(v[i])
		}
		return all
	}
	return value
}

// narrow is a number in the narrower of the types that kombu uses.
func narrow(n int64) any {
	if int64(int32(n)) == n {
		return int32(n)
	}
	return n
}
