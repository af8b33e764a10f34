package client

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// controlExchange is where Celery's remote control listens (pidbox).
const controlExchange = "celery.pidbox"

// Revoke tells all workers not to run the task; with terminate also to stop it if it runs.
// Of a group it revokes every task.
func (r *AsyncResult) Revoke(ctx context.Context, terminate bool) error {
	if r.group != nil {
		return r.group.Revoke(ctx, terminate)
	}
	return r.client.revoke(ctx, r.ID, terminate)
}

// Revoke tells all workers not to run the group's tasks; with terminate also to stop
// those that run.
func (g *GroupResult) Revoke(ctx context.Context, terminate bool) error {
	return g.result.client.revoke(ctx, g.taskIDs(), terminate)
}

func (c *Client) revoke(ctx context.Context, taskID any, terminate bool) error {
	return c.broadcast(ctx, "revoke", map[string]any{"task_id": taskID}, terminate)
}

// RevokeByStampedHeaders tells all workers not to run tasks that have all these stamps
// with one of the values given; with terminate also to stop those that run.
func (c *Client) RevokeByStampedHeaders(ctx context.Context, stamps map[string][]string, terminate bool) error {
	return c.broadcast(ctx, "revoke_by_stamped_headers", map[string]any{"headers": stamps}, terminate)
}

// clock is Celery's logical clock, of the remote control commands of this process.
var clock atomic.Int64

// broadcast sends a remote control command to all workers and waits for no answer.
func (c *Client) broadcast(ctx context.Context, method string, arguments map[string]any, terminate bool) error {
	if c.broadcaster == nil {
		return ErrNoBroadcast
	}
	if tasks.Shadowed(ctx) {
		return nil
	}
	arguments["terminate"], arguments["signal"] = terminate, "SIGTERM"
	raw, err := pyjson.Append(nil, arguments)
	if err != nil {
		return fmt.Errorf("client: %s: %w", method, err)
	}
	request := protocol.ControlRequest{Method: method, Arguments: raw, Clock: clock.Add(1)}
	if err := c.broadcaster.Broadcast(ctx, broker.Publication{
		Exchange: controlExchange, ExchangeType: broker.Fanout, Message: request.Encode(),
	}); err != nil {
		return fmt.Errorf("client: %s: %w", method, err)
	}
	return nil
}
