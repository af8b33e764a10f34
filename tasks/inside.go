package tasks

import (
	"context"
	"errors"
)

// ErrOutsideTask is returned by functions that concern the running task when the
// context is not one that a worker gave to a handler.
var ErrOutsideTask = errors.New("tasks: there is no running task in this context")

// Execution is what the worker does for a task while it runs. Package worker
// implements it; a test of a handler may put one of its own into a Request.
type Execution interface {
	// UpdateState stores a state with its meta data as the result.
	UpdateState(ctx context.Context, state string, meta any) error
}

// execution finds the worker's side of the running task.
func execution(ctx context.Context) (Execution, error) {
	req := Current(ctx)
	if req == nil || req.Execution == nil {
		return nil, ErrOutsideTask
	}
	return req.Execution, nil
}

// UpdateState stores a state of the running task, such as "PROGRESS", with meta as its
// result: AsyncResult.state and .info show them. It returns when the backend has them.
// Without a result backend, and for a task whose results are ignored, too: Celery stores
// what a task asks for.
func UpdateState(ctx context.Context, state string, meta any) error {
	run, err := execution(ctx)
	if err != nil {
		return err
	}
	return run.UpdateState(ctx, state, meta)
}
