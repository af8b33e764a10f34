package amqpbroker

import (
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/rabbitconn"
)

// publisherDelays is what a publisher knows of native delayed delivery on its connection.
type publisherDelays struct {
	mu     sync.Mutex // held while it is declared: all wait for that once
	epoch  uint64
	found  bool
	bound  map[string]bool // by queue; false: what is delayed for it would not arrive; nil: nothing is known
	warned bool
}

// delay has messages that are due later wait in native delayed delivery, as Celery's producers do where there are
// quorum queues: for queues behind topic and fanout exchanges. Others go to their queues as they are, and their
// worker sees to them.
func (p *Publisher) delay(conn *rabbitconn.Connection, messages []broker.Publication, pending []*outgoing) {
	for _, m := range pending {
		of := &messages[m.index]
		if of.Delay < time.Second || !p.cfg.Delays { // Celery takes whole seconds, and fails below one
			continue
		}
		m.exchange, m.key = of.Exchange, of.RoutingKey // an earlier attempt may have said otherwise
		q, key, known := p.delayable(of)
		delayed := delayKey(int64(of.Delay/time.Second), key)
		if known && short("routing key", delayed) == nil && p.canDelay(conn, q) {
			m.exchange, m.key = delayEntrance, delayed
		}
	}
}

// delayable is the queue that a message is for, and the routing key it is to arrive with, if Celery delays for it.
// What has been delayed before says so by where it came from, and may be sent again.
func (p *Publisher) delayable(m *broker.Publication) (q broker.Queue, key string, known bool) {
	key, again := m.RoutingKey, ofDelay(m.Exchange)
	if again {
		key, _ = undelayed(key)
	}
	i := slices.IndexFunc(p.cfg.Bound, func(q broker.Queue) bool {
		exchange, b := q.Binding()
		return delayedTo(q) && b.RoutingKey == key && (again || exchange == m.Exchange)
	})
	if i < 0 {
		return q, key, false
	}
	return p.cfg.Bound[i], key, true
}

// delayedTo tells whether Celery's delayed messages find to a queue.
func delayedTo(q broker.Queue) bool {
	return !q.Broadcast && len(q.Bindings) == 0 && (q.ExchangeType == broker.Topic || q.ExchangeType == broker.Fanout)
}

// canDelay tells whether what is delayed for a queue arrives there, and sees to it where it may. A worker does
// so, too, but may not have been started yet.
func (p *Publisher) canDelay(conn *rabbitconn.Connection, q broker.Queue) bool {
	d := &p.delays
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bound == nil || d.epoch != conn.Epoch {
		d.epoch, d.found, d.bound = conn.Epoch, false, map[string]bool{}
	}
	bound, known := d.bound[q.Name]
	if known {
		return bound
	}
	var err error
	if !d.found {
		if err = conn.Aside(func(ch *amqp.Channel) error { return findDelays(ch) }); rabbitconn.Code(err) == amqp.NotFound {
			err = conn.Aside(func(ch *amqp.Channel) error { return declareDelays(ch, p.cfg.DelayQueueType) })
		}
		d.found = err == nil
	}
	if err == nil {
		err = conn.Aside(func(ch *amqp.Channel) error {
			if err := declareQueue(ch, q); err != nil { // no worker may have been there yet
				return err
			}
			return bindDelayed(ch, q)
		})
	}
	switch {
	case err == nil:
		d.bound[q.Name] = true
	case rabbitconn.Code(err) != 0: // else the connection is lost, and the next one is asked
		d.bound[q.Name] = false
		if !d.warned {
			d.warned = true
			p.log.Warn("Native delayed delivery cannot be used, so tasks that are due later go to their queues, and wait in the worker: "+rabbitconn.Describe(err),
				logline.EventKey, "No native delayed delivery", "queue", q.Name, "error", err)
		}
	}
	return d.bound[q.Name]
}

// forgetDelays has native delayed delivery looked for again, when a message shows that it is gone.
func (p *Publisher) forgetDelays() {
	p.delays.mu.Lock()
	defer p.delays.mu.Unlock()
	p.delays.bound = nil
}
