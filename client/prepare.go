package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

var errTooLarge = errors.New("client: the messages are larger than what is published in one step")

// Prepared are the messages of a call that somebody else publishes; see [Client.Prepare].
type Prepared struct {
	// Task is that of the first message.
	Task *protocol.Task
	// Publications are to be published in this order.
	Publications []broker.Publication
	// Result is that of the call, as Send returns it.
	Result *AsyncResult

	after func(ctx context.Context, task *protocol.Task)
	tasks []*protocol.Task
}

// Prepare makes the messages that Send would publish, for who publishes them along with something else, as
// package beat does. BeforePublish has been called, and what a chord needs in the result backend is there.
func (c *Client) Prepare(ctx context.Context, sig canvas.Signature, opts ...canvas.Option) (*Prepared, error) {
	if tasks.Shadowed(ctx) {
		return nil, tasks.ErrShadow
	}
	plan, err := canvas.Apply(sig, nil, opts, c.environment())
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	var batch publish.Batch
	if err := c.maker.Add(ctx, &batch, plan); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if batch.First == nil {
		return nil, errNothing
	}
	if batch.Size > publish.Portion {
		return nil, errTooLarge
	}
	if err := c.write(ctx, batch.Writes); err != nil {
		return nil, err
	}
	if err := c.receive(ctx); err != nil {
		return nil, err
	}
	p := &Prepared{Task: batch.First.Task, Result: c.sentResults(&batch, []*canvas.Plan{plan})[0], after: c.published}
	for i := range batch.Messages {
		p.Publications = append(p.Publications, batch.Messages[i].Publication)
		if task := batch.Messages[i].Task; task != nil {
			p.tasks = append(p.tasks, task)
		}
	}
	return p, nil
}

// Publish publishes messages that Prepare has made, here or elsewhere, all in one call and without trying again.
func (c *Client) Publish(ctx context.Context, messages ...broker.Publication) error {
	if tasks.Shadowed(ctx) {
		return nil
	}
	return c.cfg.Publisher.Publish(ctx, messages...)
}

// Published tells AfterPublish that the messages are out.
func (p *Prepared) Published(ctx context.Context) {
	for _, task := range p.tasks {
		p.after(ctx, task)
	}
}
