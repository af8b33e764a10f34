package amqpbroker

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
)

// Forward implements [broker.Mover]. A queue that is not there is declared.
func (c *Consumer) Forward(ctx context.Context, queue string, deliveries ...broker.Delivery) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	held, _ := c.toMove(tagsOf(deliveries, func(d broker.Delivery) string { return d.Tag }))
	_, err := c.move(ctx, nil, held, func(m moved) *outgoing {
		return &outgoing{Publishing: republication(&m.Delivery), key: queue}
	}, func(ctx context.Context) error { return c.declareForward(ctx, queue) })
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	return nil
}

func (c *Consumer) declareForward(ctx context.Context, name string) error {
	q := broker.Queue{Name: name}
	if c.cfg.Queue != nil {
		var err error
		if q, err = c.cfg.Queue(name); err != nil {
			return err
		}
	}
	return c.elsewhere.do(ctx, func(ch *amqp.Channel) error { return declareQueue(ch, q) })
}

// Bury implements [broker.Mover]: dead letters lie in a queue of ours.
func (c *Consumer) Bury(ctx context.Context, letters ...broker.DeadLetter) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	of := make(map[string]*broker.DeadLetter, len(letters))
	for i := range letters {
		of[letters[i].Tag] = &letters[i]
	}
	held, _ := c.toMove(tagsOf(letters, func(l broker.DeadLetter) string { return l.Tag }))
	_, err := c.move(ctx, nil, held, func(m moved) *outgoing {
		p := republication(&m.Delivery)
		p.Headers = withLetter(p.Headers, of[m.tag], c.cfg.Hostname)
		p.Expiration = "" // it stays until somebody has looked at it
		return &outgoing{Publishing: p, key: lettersQueue}
	}, func(ctx context.Context) error { return c.elsewhere.do(ctx, declareLetters) })
	if err != nil {
		return fmt.Errorf("bury: %w", err)
	}
	return nil
}
