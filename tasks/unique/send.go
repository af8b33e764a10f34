package unique

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// Send sends a call of a task, unless one like it has the lock. Then sent is false, and the result is that of the task which
// has it. A task that is not locked (see Task) is sent in any case; a canvas of several cannot be.
//
// If sending fails, the lock is given up. Should the message be on its way all the same, because the connection broke at that
// moment, a second one may be sent.
func (l *Locks) Send(ctx context.Context, c *client.Client, sig canvas.Signature, opts ...canvas.Option) (result *client.AsyncResult, sent bool, err error) {
	task, err := called(sig, opts)
	if err != nil {
		return nil, false, err
	}
	o, locked := l.tasks[task.Name]
	if !locked || tasks.Shadowed(ctx) {
		result, err = c.Send(ctx, sig, opts...)
		return result, err == nil, err
	}
	key := o.Key(task)
	holder, err := l.take(ctx, key, task.ID, o.For)
	if err != nil {
		return nil, false, err
	}
	if holder != task.ID {
		return c.Result(holder), false, nil
	}
	result, err = c.Send(ctx, sig, append(opts[:len(opts):len(opts)], canvas.TaskID(task.ID))...)
	if err != nil {
		return nil, false, errors.Join(err, l.release(ctx, key, task.ID))
	}
	return result, true, nil
}

var errSeveral = errors.New("unique: only a single task can be locked, and this is a canvas of several")

// called is the task that a signature calls, with its id.
func called(sig canvas.Signature, opts []canvas.Option) (*protocol.Task, error) {
	plan, err := canvas.Apply(sig, nil, opts, canvas.Environment{NewID: protocol.NewID, Now: time.Now(), DefaultQueue: client.DefaultQueue})
	if err != nil {
		return nil, fmt.Errorf("unique: %w", err)
	}
	if len(plan.Steps) == 1 {
		if call, ok := plan.Steps[0].(canvas.Publish); ok && call.Task.Embed.Chain == nil {
			return call.Task, nil
		}
	}
	return nil, errSeveral
}
