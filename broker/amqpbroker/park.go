package amqpbroker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/rabbitconn"
)

// delays is native delayed delivery as this consumer uses it.
type delays struct {
	queueType string // of the levels' queues, if they are declared here
	turn      turn   // held while it is declared

	mu     sync.Mutex
	there  bool // it was found or declared
	unable bool // it is not there, and cannot be declared
}

func newDelays(queueType string) *delays { return &delays{queueType: queueType, turn: newTurn()} }

// known tells what is known of it.
func (d *delays) known() (there, unable bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.there, d.unable
}

// wanted tells whether queues are bound to it when they are declared.
func (d *delays) wanted() bool {
	there, _ := d.known()
	return there
}

// prepare finds native delayed delivery or declares it, unless that was done. What it cannot do at
// all it says once; then the error has errors.ErrUnsupported.
func (c *Consumer) prepareDelays(ctx context.Context, anew bool) error {
	d := c.delays
	if err := d.turn.take(ctx); err != nil {
		return err
	}
	defer d.turn.leave()
	switch there, unable := d.known(); {
	case unable:
		return errors.ErrUnsupported
	case there && !anew:
		return nil
	}
	err := c.elsewhere.do(ctx, func(ch *amqp.Channel) error { return declareDelays(ch, d.queueType) })
	if rabbitconn.Code(err) != 0 { // somebody else may have declared it, with queues of the other type
		found := c.elsewhere.do(ctx, func(ch *amqp.Channel) error { return findDelays(ch) })
		if rabbitconn.Code(found) != 0 {
			return c.noDelays(err)
		}
		err = found
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.there = err == nil
	return err
}

// noDelays notes that nothing can be delayed.
func (c *Consumer) noDelays(err error) error {
	c.delays.mu.Lock()
	c.delays.unable = true
	c.delays.mu.Unlock()
	c.log.Warn("Native delayed delivery is not there and cannot be declared, so tasks that are due later wait in memory: "+rabbitconn.Describe(err),
		logline.EventKey, "No native delayed delivery", "error", err)
	return errors.ErrUnsupported
}

// bindDelays has a queue's delayed messages find back to it.
func (c *Consumer) bindDelays(ctx context.Context, s *source) error {
	q := s.Queue
	q.Name = s.name
	if s.Broadcast {
		q.Bindings, q.Exchange, q.ExchangeType = nil, "", "" // Celery delays nothing for it
	}
	err := c.elsewhere.do(ctx, func(ch *amqp.Channel) error { return bindDelayed(ch, q) })
	if rabbitconn.Code(err) == amqp.AccessRefused {
		return c.noDelays(err)
	}
	return err
}

// bindDeclared binds a queue that was just declared, if anything may have been delayed for it. If that
// fails, it is done when a message is parked.
func (c *Consumer) bindDeclared(s *source) {
	if !c.delays.wanted() {
		return
	}
	if err := c.bindDelays(c.ctx, s); err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			c.log.Warn("Cannot bind queue "+s.Name+" to native delayed delivery: "+rabbitconn.Describe(err),
				logline.EventKey, "Not bound to native delayed delivery", "queue", s.Name, "error", err)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.delayed = true
}

// bindParked binds the queues of what is to be parked, unless that was done since they were declared.
func (c *Consumer) bindParked(ctx context.Context, held []moved, anew bool) error {
	for _, m := range held {
		s := m.sub.source
		c.mu.Lock()
		done := s.delayed && !anew
		c.mu.Unlock()
		if done {
			continue
		}
		if err := c.bindDelays(ctx, s); err != nil {
			return err
		}
		c.mu.Lock()
		s.delayed = true
		c.mu.Unlock()
	}
	return nil
}

// Park implements [broker.Parker] with Celery's native delayed delivery: the broker brings a message
// back to its queue when it is due, to whoever consumes it then.
func (c *Consumer) Park(ctx context.Context, parked ...broker.Parked) (lost []string, err error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	if len(parked) == 0 {
		if _, unable := c.delays.known(); unable {
			return nil, errors.ErrUnsupported
		}
		return nil, nil
	}
	if err := c.prepareDelays(ctx, false); err != nil {
		return nil, parkError(err)
	}
	due := make(map[string]time.Time, len(parked))
	for _, p := range parked {
		due[p.Tag] = p.Due
	}
	for attempt := 0; ; attempt++ {
		if err := pauseAgain(ctx, c.elsewhere.holder.Closed(), attempt); err != nil {
			return nil, parkError(err)
		}
		held, lost := c.toMove(tagsOf(parked, func(p broker.Parked) string { return p.Tag }))
		gone, err := c.parkHeld(ctx, held, due)
		if !errors.Is(err, errUnsure) {
			return append(lost, gone...), parkError(err)
		}
	}
}

// parkHeld parks what is held. After an error with errUnsure what may have been parked is dropped when it comes.
func (c *Consumer) parkHeld(ctx context.Context, held []moved, due map[string]time.Time) (lost []string, err error) {
	if len(held) == 0 {
		return nil, nil
	}
	if err := c.bindParked(ctx, held, false); err != nil {
		return nil, err
	}
	t, err := c.openParking(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return c.move(ctx, t, held, func(m moved) *outgoing {
		return &outgoing{
			Publishing: t.parked(m.delivery), exchange: delayEntrance,
			key: delayKey(delaySeconds(due[m.tag].Sub(now)), parkedWord(m.sub.source.name)),
		}
	}, func(ctx context.Context) error {
		if err := c.prepareDelays(ctx, true); err != nil {
			return err
		}
		return c.bindParked(ctx, held, true)
	})
}

func parkError(err error) error {
	if err == nil || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, broker.ErrClosed) {
		return err
	}
	return fmt.Errorf("park: %w", err)
}
