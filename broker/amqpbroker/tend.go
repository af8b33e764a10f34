package amqpbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/internal/reconnect"
)

// tend keeps a link, and its consumers as they are to be, until the consumer is closed. It is the
// only one that waits for answers on the link's channel.
func (c *Consumer) tend(l *link) {
	defer close(c.ended)
	for {
		err := c.serve(l)
		c.lose(l)
		c.learnTimeout(err)
		if c.ctx.Err() != nil {
			return
		}
		epoch := l.conn.Epoch
		if !l.conn.IsClosed() { // of that the holder tells
			c.tellLost(rabbitconn.Describe(err))
		}
		if l, err = c.relink(epoch); l == nil {
			c.fail(err)
			return
		}
		if l.conn.Epoch == epoch {
			reconnect.LogConnected(c.log, l.conn.String())
		}
	}
}

// fail has Claim fail: there is no connection any more, and will be none.
func (c *Consumer) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = fmt.Errorf("amqpbroker: %w", err)
	for _, ch := range c.changes {
		ch.done <- c.failed
	}
	c.changes = nil
	signal(c.arrived)
}

// serve keeps the consumers as they are to be, until the link is lost.
func (c *Consumer) serve(l *link) error {
	look := time.NewTicker(c.cfg.look)
	defer look.Stop()
	c.dropLeftSoon()
	for idle := false; ; {
		if err := c.reconcile(l, idle); err != nil {
			_ = l.ch.Close() // it may be closed
			return err
		}
		idle = false
		select {
		case <-c.ctx.Done():
			return nil
		case err, ok := <-l.closes:
			if !ok {
				return amqp.ErrClosed
			}
			return err
		case tag, ok := <-l.cancels:
			if ok {
				c.cancelled(l, tag)
			} else {
				l.cancels = nil
			}
		case <-c.wake:
		case <-look.C:
			idle = true
			c.dropLeftSoon()
		}
	}
}

// tellLost logs that the broker has closed the channel, as Celery does if it goes on (broker_channel_error_retry), or
// that it has ended a consumer. Celery makes its connection again for either, and says so.
func (c *Consumer) tellLost(why string) { reconnect.LogLost(c.log, c.holder.String(), errors.New(why)) }

// relink makes another link: on the same connection, or on the next. It returns none only if there
// will be none.
func (c *Consumer) relink(epoch uint64) (*link, error) {
	for try := 1; ; try++ {
		conn, err := c.holder.Get(c.ctx)
		if err != nil {
			return nil, err
		}
		if conn.Epoch != epoch {
			epoch, try = conn.Epoch, 1
		}
		l, err := c.connect(conn)
		if err == nil {
			return l, nil
		}
		if conn.IsClosed() {
			continue // it is known, and Get waits
		}
		reconnect.LogRetry(c.log, c.holder.String(), errors.New(rabbitconn.Describe(err)), try, c.cfg.MaxReconnects)
		select {
		case <-time.After(reconnect.Delay(try)):
		case <-conn.Done():
		case <-c.ctx.Done():
			return nil, c.ctx.Err()
		}
	}
}

// connect declares the queues, opens a channel and consumes.
func (c *Consumer) connect(conn *rabbitconn.Connection) (*link, error) {
	began := time.Now()
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	l := newLink(c.term.Load(), conn, ch)
	l.closes, l.cancels = ch.NotifyClose(make(chan *amqp.Error, 1)), ch.NotifyCancel(make(chan string, 64))
	if err := c.prove(l, began); err != nil {
		_ = ch.Close() // it may be closed
		return nil, err
	}
	c.mu.Lock()
	c.link = l
	c.mu.Unlock()
	if err := c.reconcile(l, false); err != nil {
		c.lose(l)
		_ = ch.Close() // it may be closed
		return nil, err
	}
	return l, nil
}

// change is what somebody waits for who has changed what is consumed.
type change struct {
	added    *source   // which must be there; nil: none
	transfer *transfer // whose queue is to be consumed; nil: none
	done     chan error
}

// reconcile makes the consumers on the link what they are to be. An error means that the link is of
// no use. That a queue which was just added cannot be consumed concerns only who has added it.
func (c *Consumer) reconcile(l *link, idle bool) error {
	c.mu.Lock()
	changes, all, gone := c.changes, slices.Clone(c.sources.all), c.sources.gone
	c.changes, c.sources.gone = nil, nil
	c.mu.Unlock()
	err := c.unsubscribe(l, gone, idle)
	for _, ch := range changes {
		if err == nil {
			err = c.consumeTransfer(l, ch.transfer)
		}
	}
	for _, s := range all {
		if err != nil {
			break
		}
		if err = c.subscribeHolding(l, s); err != nil {
			break
		}
		declared := s.declared == l
		if err = c.subscribeOne(l, s, idle); err == nil {
			continue
		}
		err = fmt.Errorf("queue %q: %w", s.Name, rabbitconn.Described(err))
		i := slices.IndexFunc(changes, func(ch change) bool { return ch.added == s })
		if i < 0 {
			continue
		}
		c.mu.Lock()
		c.sources.remove(s)
		c.mu.Unlock()
		changes[i].done <- err
		changes = slices.Delete(changes, i, i+1)
		if !declared && s.declared != l {
			err = nil // it could not be declared, which is done on a channel apart
		}
	}
	for _, ch := range changes {
		ch.done <- err
	}
	return err
}

func (c *Consumer) subscribeOne(l *link, s *source, idle bool) error {
	if s.declared != l {
		err := c.declare(l.conn, s)
		if rabbitconn.Code(err) == amqp.ResourceLocked {
			c.locked(s, err)
			return nil
		}
		if err != nil {
			return err
		}
		s.declared, s.locked = l, false
		c.bindDeclared(s)
	}
	c.mu.Lock()
	credit, single := s.wants(&c.sources), s.single && len(s.subs) > 0
	c.mu.Unlock()
	switch {
	case credit <= 0 || single && !idle:
	case single:
		if err := c.resubscribe(l, s); err != nil {
			return err
		}
	default:
		if err := c.subscribe(l, s, min(credit, maxPrefetch)); err != nil {
			return err
		}
	}
	if s.cancelled {
		s.cancelled = false
		reconnect.LogConnected(c.log, l.conn.String())
	}
	return nil
}

// subscribe starts a consumer of a queue.
func (c *Consumer) subscribe(l *link, s *source, credit int) error {
	c.mu.Lock()
	c.tagged++
	sub := &subscription{source: s, link: l, tag: c.consumerTag(), credit: credit, ended: make(chan struct{})}
	s.subs = append(s.subs, sub)
	c.mu.Unlock()
	return c.consume(sub, s.name)
}

// resubscribe has a consumer ask for more whose queue is served through one consumer alone, so that a further one would bring nothing.
// It is done only where no other worker waits, as that would be served from then on, while this one holds what came before.
func (c *Consumer) resubscribe(l *link, s *source) error {
	var consumers int
	err := l.conn.Aside(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(s.name, true, false, false, false, nil)
		consumers = q.Consumers
		return err
	})
	c.mu.Lock()
	before, credit := slices.Clone(s.subs), s.wants(&c.sources)+s.free()
	c.mu.Unlock()
	if err != nil || consumers > len(before) || s.Declaration.AutoDelete {
		return nil //nolint:nilerr // what is wrong with the queue its consumer is told
	}
	for _, sub := range before {
		if err := c.end(l, sub); err != nil {
			return err
		}
	}
	return c.subscribe(l, s, min(credit, maxPrefetch))
}

// end ends a consumer. All that was on its way has arrived then.
func (c *Consumer) end(l *link, sub *subscription) error {
	c.forget(sub)
	if err := l.ch.Cancel(sub.tag, false); err != nil {
		return err
	}
	<-sub.ended
	return nil
}

// consumerTag is that of the consumer that was counted last.
func (c *Consumer) consumerTag() string {
	return c.cfg.Hostname + "-" + strconv.FormatUint(c.tagged, 10)
}

// consume has a consumer's deliveries come.
func (c *Consumer) consume(sub *subscription, queue string) error {
	ch := sub.link.ch
	err := ch.Qos(sub.credit, 0, false)
	var deliveries <-chan amqp.Delivery
	if err == nil {
		deliveries, err = ch.Consume(queue, sub.tag, false, false, false, false, arguments(sub.source.Declaration.ConsumerArguments))
	}
	if err != nil {
		c.forget(sub)
		return err
	}
	go c.receive(sub, deliveries)
	return nil
}

// unsubscribe ends consumers that are not wanted any more: of queues that are gone, and those that
// ask for more than is to be held. What came by them and was not claimed goes back.
func (c *Consumer) unsubscribe(l *link, gone []*source, idle bool) error {
	var surplus []*subscription
	c.mu.Lock()
	for _, s := range gone {
		surplus = append(surplus, s.subs...)
	}
	for _, s := range c.sources.all {
		surplus = append(surplus, s.surplus(&c.sources, idle)...)
	}
	if idle {
		c.sources.most = c.sources.room
	}
	c.mu.Unlock()
	for _, sub := range surplus {
		if err := c.end(l, sub); err != nil {
			return err
		}
	}
	if len(surplus) > 0 && !idle { // then it is claimed soon
		c.giveBackBuffered(l, func(d *delivery) bool { return slices.Contains(surplus, d.sub) })
	}
	return nil
}

func (c *Consumer) forget(sub *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sub.source.subs = slices.DeleteFunc(sub.source.subs, func(s *subscription) bool { return s == sub })
}

// cancelled notes that the broker has ended a consumer: its queue was deleted, say. It is declared
// again.
func (c *Consumer) cancelled(l *link, tag string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sources.all {
		if h := s.holding; h != nil && h.sub != nil && (h.sub.tag == tag || h.noted.tag == tag) {
			s.holding, s.held = nil, ""
		}
		i := slices.IndexFunc(s.subs, func(sub *subscription) bool { return sub.tag == tag && sub.link == l })
		if i < 0 {
			continue
		}
		sub := s.subs[i]
		s.subs = slices.Delete(s.subs, i, i+1)
		s.declared, s.delayed = nil, false
		if !sub.doomed {
			s.cancelled = true
			c.tellLost("the broker has cancelled the consumers of queue " + s.Name + ", which is declared again")
		}
		for _, other := range s.subs {
			other.doomed = true
		}
	}
}

// changed has tend see to a change, and waits for it if there is a link. c.mu is held, and released.
func (c *Consumer) changed(ctx context.Context, ch change) error {
	if c.link == nil {
		c.mu.Unlock()
		return nil
	}
	ch.done = make(chan error, 1)
	c.changes = append(c.changes, ch)
	c.mu.Unlock()
	signal(c.wake)
	select {
	case err := <-ch.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return nil
	}
}
