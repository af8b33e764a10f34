package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

var errNothing = errors.New("client: an empty chain: there is nothing to send")

// carryOut does what plans say, and returns the results of what they are of. Of a shadow it does nothing.
func (c *Client) carryOut(ctx context.Context, plans ...*canvas.Plan) ([]*AsyncResult, error) {
	var batch publish.Batch
	shadowed := tasks.Shadowed(ctx)
	for _, plan := range plans {
		if plan.Result == nil {
			return nil, errNothing
		}
		if shadowed {
			continue
		}
		if err := c.maker.Add(ctx, &batch, plan); err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
	}
	results := c.sentResults(&batch, plans)
	if shadowed {
		return results, nil
	}
	if err := c.write(ctx, batch.Writes); err != nil {
		return nil, err
	}
	return results, c.publish(ctx, &batch)
}

// sentResults returns the results of plans. Of some tasks none is stored.
func (c *Client) sentResults(batch *publish.Batch, plans []*canvas.Plan) []*AsyncResult {
	ignored := map[string]bool{}
	for i := range batch.Messages {
		if task := batch.Messages[i].Task; task != nil && task.IgnoreResult != nil && *task.IgnoreResult {
			ignored[task.ID] = true
		}
	}
	results := make([]*AsyncResult, len(plans))
	for i, plan := range plans {
		results[i] = c.resultOf(plan.Result)
		results[i].ignored = ignored[plan.Result.ID]
	}
	return results
}

// write writes what must be in the backend before the messages. The steps concern
// different groups, so they need not wait for each other.
func (c *Client) write(ctx context.Context, steps []canvas.Step) error {
	if len(steps) == 0 {
		return nil
	}
	if !c.backend.Able() {
		return ErrNoChords
	}
	var all sync.WaitGroup
	errs := make([]error, len(steps))
	for i, step := range steps {
		all.Go(func() { errs[i] = c.backend.Write(ctx, step) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrNotWritten, err)
	}
	return nil
}

// receive makes sure that the results of a batch find somebody.
func (c *Client) receive(ctx context.Context) error {
	if c.mailbox == nil {
		return nil
	}
	if err := c.mailbox.Receive(ctx); err != nil {
		return fmt.Errorf("client: make a queue for results: %w", err)
	}
	return nil
}

// publish sends the messages, again if need be, as the first of them says.
func (c *Client) publish(ctx context.Context, batch *publish.Batch) error {
	if batch.First == nil {
		return nil // an empty group
	}
	if err := c.receive(ctx); err != nil {
		return err
	}
	policy, err := publish.Policy(*c.cfg.RetryPolicy, !c.cfg.NoRetry, batch.First)
	if err != nil {
		return fmt.Errorf("client: task %s: %w", batch.First.Task.Name, err)
	}
	sender := publish.Sender{
		Publisher: c.cfg.Publisher, After: c.published,
		Try: func(ctx context.Context, call func() error) error { return publish.Retry(ctx, policy, call) },
	}
	if err := sender.Send(ctx, batch.Messages); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return nil
}
