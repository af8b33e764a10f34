package redisbroker

import (
	"context"
	"fmt"
	"slices"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/envelope"
)

// Requeue gives deliveries back to their queues, marked as redelivered.
func (c *Consumer) Requeue(ctx context.Context, place broker.Place, deliveries ...broker.Delivery) error {
	if err := c.recount(ctx, deliveries); err != nil {
		return fmt.Errorf("requeue: %w", closedError(err))
	}
	moves := make([]move, len(deliveries))
	for i, d := range deliveries {
		raw, priority := redeliver(d.Raw)
		moves[i] = move{tag: d.Tag, raw: raw, lists: []string{c.keys.list(c.listOf(d.Queue), c.keys.step(priority))}}
	}
	return c.requeue(ctx, place, moves)
}

// Unclaim gives deliveries back to their queues, byte for byte, to be served next.
func (c *Consumer) Unclaim(ctx context.Context, deliveries ...broker.Delivery) error {
	moves := make([]move, len(deliveries))
	for i, d := range deliveries {
		moves[i] = move{tag: d.Tag, raw: d.Raw, lists: []string{c.keys.list(c.listOf(d.Queue), c.stepOf(d.Raw))}}
	}
	return c.requeue(ctx, broker.Front, moves)
}

func (c *Consumer) requeue(ctx context.Context, place broker.Place, moves []move) error {
	if place != broker.Back {
		slices.Reverse(moves) // pushed last, served first
	}
	var err error
	if c.cfg.NoAckEmulation {
		err = c.push(ctx, place, moves)
	} else {
		_, err = c.move(ctx, moveOptions{place: place}, moves)
	}
	if err != nil {
		return fmt.Errorf("requeue: %w", closedError(err))
	}
	c.released(len(moves), func(i int) string { return moves[i].tag })
	return nil
}

// redeliver marks a message and returns its priority. One that cannot be decoded
// goes back as it is: what to make of it is for the worker that gets it.
func redeliver(raw []byte) (marked []byte, priority int) {
	m := read(raw)
	if m.Err != nil {
		return raw, 0
	}
	marked, err := envelope.MarkRedelivered(raw)
	if err != nil {
		return raw, m.Priority
	}
	return marked, m.Priority
}
