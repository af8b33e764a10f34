package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// AsyncResult stands for the result of a task that was sent. When a group was sent it
// stands for the group: see Group.
type AsyncResult struct {
	ID string

	client  *Client
	parent  *AsyncResult
	group   *GroupResult // nil: one task
	ignored bool         // was sent with ignore_result
}

// resultOf is the result of what canvas has worked out.
func (c *Client) resultOf(r *canvas.Result) *AsyncResult {
	if r == nil {
		return nil
	}
	result := &AsyncResult{ID: r.ID, client: c, parent: c.resultOf(r.Parent)}
	if r.Group {
		result.group = &GroupResult{ID: r.ID, result: result}
		for _, member := range r.Members {
			result.group.Members = append(result.group.Members, c.resultOf(member))
		}
	}
	return result
}

// Parent returns the result of the step before in a chain, or of a chord's header; nil
// for what runs first. As in Celery, the parent of a chain that a chord goes on with is
// the header, too: those of the steps in between are not to be had.
func (r *AsyncResult) Parent() *AsyncResult { return r.parent }

// Group returns the results of a group's members; nil if this is one task's result.
func (r *AsyncResult) Group() *GroupResult { return r.group }

// Get waits until the task is done and decodes its result into out, a pointer; nil only
// waits. A task that failed or was revoked gives its Python exception, as a
// *protocol.Exception. Of a group it is [GroupResult.Join]. A task that was sent with
// IgnoreResult has no result: Get returns at once.
func (r *AsyncResult) Get(ctx context.Context, out any) error {
	switch {
	case r.group != nil:
		return r.group.Join(ctx, out)
	case r.ignored:
		return nil
	}
	record, err := r.Wait(ctx)
	if err != nil {
		return err
	}
	return r.decode(record, out)
}

// decode decodes what a record holds into out, or returns it as the exception it is.
func (r *AsyncResult) decode(record *protocol.Result, out any) error {
	if s := record.State; s == protocol.Failure || s == protocol.Revoked || s == protocol.Retry {
		return r.exception(record)
	}
	if out == nil {
		return nil
	}
	raw := record.Result
	if raw == nil {
		raw = []byte("null")
	}
	if err := pyjson.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("client: result of task %s: %w", r.ID, err)
	}
	return nil
}

// exception is that of a record; nil if a retry names no cause.
func (r *AsyncResult) exception(record *protocol.Result) error {
	if record.State == protocol.Retry && (record.Result == nil || pyjson.Kind(record.Result) == 'n') {
		return nil
	}
	exception, err := protocol.DecodeException(record.Result)
	if err != nil {
		return fmt.Errorf("client: exception of task %s: %w", r.ID, err)
	}
	if record.Traceback != nil {
		exception.Traceback = *record.Traceback
	}
	return exception
}

// Wait waits until the task is done and returns its record as it is, whether it
// succeeded or not.
func (r *AsyncResult) Wait(ctx context.Context) (*protocol.Result, error) {
	if tasks.Shadowed(ctx) {
		return nil, tasks.ErrShadow
	}
	return r.read(func(from backend.Loader) ([]byte, error) { return from.Wait(ctx, r.ID) })
}

// Watch is Wait that also shows the states before the end to a function: the present one
// and those that come (STARTED, RETRY, a task's own such as PROGRESS), in order. When
// they come faster than it returns, older ones are left out. The Result of a record of a
// task's own state is the meta data, as JSON.
func (r *AsyncResult) Watch(ctx context.Context, progress func(*protocol.Result)) (*protocol.Result, error) {
	if tasks.Shadowed(ctx) {
		return nil, tasks.ErrShadow
	}
	return r.read(func(from backend.Loader) ([]byte, error) {
		return from.Watch(ctx, r.ID, func(raw []byte) {
			if record, err := protocol.DecodeResult(raw); err == nil {
				progress(record)
			}
		})
	})
}

// Record returns what is known about the task now. A task nothing is known about has
// the state PENDING.
func (r *AsyncResult) Record(ctx context.Context) (*protocol.Result, error) {
	record, err := r.read(func(from backend.Loader) ([]byte, error) { return from.Load(ctx, r.ID) })
	if errors.Is(err, backend.ErrNotFound) {
		return &protocol.Result{State: protocol.Pending, TaskID: r.ID}, nil
	}
	return record, err
}

func (r *AsyncResult) read(load func(backend.Loader) ([]byte, error)) (*protocol.Result, error) {
	switch {
	case r.client.cfg.Loader == nil:
		return nil, ErrNoBackend
	case r.group != nil:
		return nil, fmt.Errorf("%w: %s", ErrGroup, r.ID)
	}
	raw, err := load(r.client.cfg.Loader)
	if err != nil {
		return nil, fmt.Errorf("client: task %s: %w", r.ID, err)
	}
	record, err := protocol.DecodeResult(raw)
	if err != nil {
		return nil, fmt.Errorf("client: record of task %s: %w", r.ID, err)
	}
	return record, nil
}

// State returns the task's state now.
func (r *AsyncResult) State(ctx context.Context) (protocol.State, error) { return r.Info(ctx, nil) }

// Info returns the task's state now, and decodes into out, a pointer or nil, what goes
// with it: the result, or the meta data of a state that the task itself has set. In the
// states FAILURE, REVOKED and RETRY the error is the task's *protocol.Exception. PENDING
// leaves out alone.
func (r *AsyncResult) Info(ctx context.Context, out any) (protocol.State, error) {
	record, err := r.Record(ctx)
	if err != nil {
		return "", err
	}
	if out == nil || record.State == protocol.Pending {
		return record.State, nil
	}
	return record.State, r.decode(record, out)
}

// Ready says whether the task is done, of a group whether all its tasks are.
func (r *AsyncResult) Ready(ctx context.Context) (bool, error) {
	return r.test(ctx, (*GroupResult).Ready, protocol.State.Ready)
}

// Successful says whether the task, or every task of a group, has succeeded.
func (r *AsyncResult) Successful(ctx context.Context) (bool, error) {
	return r.test(ctx, (*GroupResult).Successful, func(s protocol.State) bool { return s == protocol.Success })
}

// Failed says whether the task, or any task of a group, has failed.
func (r *AsyncResult) Failed(ctx context.Context) (bool, error) {
	return r.test(ctx, (*GroupResult).Failed, func(s protocol.State) bool { return s == protocol.Failure })
}

func (r *AsyncResult) test(
	ctx context.Context, group func(*GroupResult, context.Context) (bool, error), is func(protocol.State) bool,
) (bool, error) {
	if r.group != nil {
		return group(r.group, ctx)
	}
	state, err := r.State(ctx)
	return is(state), err
}

// Children returns the results of what the task has published while it ran and when it
// ended; of a group its members.
func (r *AsyncResult) Children(ctx context.Context) ([]*AsyncResult, error) {
	if r.group != nil {
		return r.group.Members, nil
	}
	record, err := r.Record(ctx)
	if err != nil {
		return nil, err
	}
	children, err := r.client.resultsOf(record.Children)
	if err != nil {
		return nil, fmt.Errorf("client: children of task %s: %w", r.ID, err)
	}
	return children, nil
}

// Forget deletes the records of the task, and of those that ran before it.
func (r *AsyncResult) Forget(ctx context.Context) error {
	switch {
	case r.client.cfg.Loader == nil:
		return ErrNoBackend
	case tasks.Shadowed(ctx):
		return nil
	}
	var ids []string
	for step := r; step != nil; step = step.parent {
		ids = append(ids, step.taskIDs()...)
	}
	if err := r.client.cfg.Loader.Forget(ctx, ids...); err != nil {
		return fmt.Errorf("client: forget task %s: %w", r.ID, err)
	}
	return nil
}

// taskIDs are the ids of the task, or of all tasks in a group.
func (r *AsyncResult) taskIDs() []string {
	if r.group == nil {
		return []string{r.ID}
	}
	return r.group.taskIDs()
}
