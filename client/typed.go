package client

import (
	"context"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

var _ tasks.Sender = (*Client)(nil)

// SendTask implements [tasks.Sender], for the Delay of tasks that are defined with their types.
// To send a signature use Send.
func (c *Client) SendTask(ctx context.Context, sig canvas.Signature, opts ...canvas.Option) (id string, result tasks.Untyped, err error) {
	sent, err := c.Send(ctx, sig, opts...)
	if err != nil {
		return "", nil, err
	}
	return sent.ID, sent, nil
}
