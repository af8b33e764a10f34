package amqpbroker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/rabbitconn"
)

// target is where messages go: a queue, or an exchange with a routing key.
type target struct{ exchange, key string }

// declareTargets declares where messages go, unless that was done on this connection, and returns the
// messages that can be sent: of a named exchange it is known then that it is there. If the connection is lost
// meanwhile, sending finds out.
func (p *Publisher) declareTargets(conn *rabbitconn.Connection, messages []broker.Publication, pending []*outgoing, refused map[int]error) []*outgoing {
	rest := pending[:0:len(pending)]
	var last target
	for i, m := range pending {
		at := p.target(&messages[m.index])
		if i > 0 && at == last || p.isDeclared(conn.Epoch, at) {
			last = at
			rest = append(rest, m)
			continue
		}
		err := p.declareTarget(conn, at, &messages[m.index])
		switch {
		case err == nil:
			p.noteDeclared(conn.Epoch, at)
		case errors.Is(err, broker.ErrUnroutable):
			refused[m.index] = err
			continue
		case rabbitconn.Code(err) != 0: // whether it can be routed is found out in any case
			p.warnOnce(at, err)
			p.noteDeclared(conn.Epoch, at)
		}
		last = at
		rest = append(rest, m)
	}
	return rest
}

// target is where a message goes: of a fanout, the exchange alone.
func (p *Publisher) target(m *broker.Publication) target {
	if m.ExchangeType == broker.Fanout {
		return target{exchange: m.Exchange}
	}
	return target{m.Exchange, m.RoutingKey}
}

func (p *Publisher) isDeclared(epoch uint64, at target) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.epoch == epoch && p.declared[at]
}

func (p *Publisher) noteDeclared(epoch uint64, at target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch != epoch {
		p.epoch = epoch
		clear(p.declared)
	}
	p.declared[at] = true
}

func (p *Publisher) undeclare(m *outgoing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.declared, target{m.exchange, m.key})
}

func (p *Publisher) warnOnce(at target, err error) {
	p.mu.Lock()
	known := p.warned[at]
	p.warned[at] = true
	p.mu.Unlock()
	if !known {
		p.log.Warn(fmt.Sprintf("Cannot declare what messages for %q are published to: %s. They are published nevertheless", at.key, rabbitconn.Describe(err)),
			logline.EventKey, "Not declared as the settings say", "exchange", at.exchange, "routing_key", at.key, "error", err)
	}
}

// declareTarget declares the queue that messages of a target go to, or at least its exchange.
func (p *Publisher) declareTarget(conn *rabbitconn.Connection, at target, m *broker.Publication) error {
	return conn.Aside(func(ch *amqp.Channel) error {
		switch q, known := p.queue(at); {
		case m.ExchangeType == broker.Fanout:
			return p.exchange(at.exchange).declare(ch)
		case known:
			return declareQueue(ch, q)
		default:
			err := ch.ExchangeDeclarePassive(at.exchange, cmp.Or(m.ExchangeType, broker.Direct), true, false, false, false, nil)
			if rabbitconn.Code(err) == amqp.NotFound {
				return describe(err)
			}
			return err
		}
	})
}

// queue is the queue that a target leads to; known is false if the exchange knows alone.
func (p *Publisher) queue(at target) (q broker.Queue, known bool) {
	if at.exchange == "" {
		if p.cfg.Queue == nil {
			return broker.Queue{Name: at.key}, true
		}
		q, err := p.cfg.Queue(at.key)
		if err != nil || q.Name != at.key {
			q = broker.Queue{Declaration: broker.Declaration{Skip: true}}
		}
		return q, true
	}
	i := slices.IndexFunc(p.cfg.Bound, func(q broker.Queue) bool {
		exchange, b := q.Binding()
		return len(q.Bindings) == 0 && exchange == at.exchange && b.RoutingKey == at.key
	})
	if i < 0 {
		return q, false
	}
	return p.cfg.Bound[i], true
}

// exchange is an exchange of those that everybody hears who listens.
type exchange struct {
	name, kind string
	durable    bool
}

// exchange is as Celery declares it.
func (p *Publisher) exchange(name string) exchange {
	switch mailbox := p.cfg.ControlExchange + ".pidbox"; name {
	case p.cfg.EventExchange:
		return exchange{name, broker.Topic, true}
	case mailbox:
		return exchange{name, broker.Fanout, false}
	case "reply." + mailbox:
		return exchange{name, broker.Direct, false}
	}
	return exchange{name, broker.Fanout, true}
}

func (e exchange) declare(ch *amqp.Channel) error {
	return ch.ExchangeDeclare(e.name, e.kind, e.durable, false, false, false, nil)
}
