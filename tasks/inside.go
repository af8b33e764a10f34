package tasks

import (
	"context"
	"errors"

	"github.com/apium/apium/protocol/canvas"
)

// ErrOutsideTask is returned by functions that concern the running task when the
// context is not one that a worker gave to a handler.
var ErrOutsideTask = errors.New("tasks: there is no running task in this context")

// Execution is what the worker does for a task while it runs. Package worker
// implements it; a test of a handler may put one of its own into a Request.
type Execution interface {
	// UpdateState stores a state with its meta data as the result.
	UpdateState(ctx context.Context, state string, meta any) error
	// Send publishes a signature as the running task's child.
	Send(ctx context.Context, sig canvas.Signature, opts ...canvas.Option) (*canvas.Result, error)
	// Replace publishes a signature in the place of the running task, now or when its handler
	// has returned.
	Replace(ctx context.Context, sig canvas.Signature) error
	// AddToChord adds a member to the chord that the running task is a member of.
	AddToChord(ctx context.Context, sig canvas.Signature) (*canvas.Result, error)
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
// result: AsyncResult.state and .info show them. It returns when the backend has them, and
// at once without a result backend. As in Celery the state of a task whose results are
// ignored is stored, too.
func UpdateState(ctx context.Context, state string, meta any) error {
	run, err := execution(ctx)
	if err != nil {
		return err
	}
	return run.UpdateState(ctx, state, meta)
}

// Send publishes a signature, or a whole canvas, from inside a task, and returns where its
// result will be. The new tasks have this one as their parent and its root as theirs, and
// are its children in its record.
func Send(ctx context.Context, sig canvas.Signature, opts ...canvas.Option) (*canvas.Result, error) {
	run, err := execution(ctx)
	if err != nil {
		return nil, err
	}
	return run.Send(ctx, sig, opts...)
}

// Replace ends the running task and has another signature run in its place, as
// Task.replace in Python: it gets the task's id, its callbacks and errbacks, its place in
// groups and chords and what remains of its chain. The handler returns what Replace
// returns, and does so at once: where messages are acknowledged late, the signature is
// published when it has returned.
//
//	return tasks.Replace(ctx, canvas.Sig("shop.charge", order))
func Replace(ctx context.Context, sig canvas.Signature) error {
	run, err := execution(ctx)
	if err != nil {
		return err
	}
	if err := run.Replace(ctx, sig); err != nil {
		return err
	}
	return IgnoreError{Replaced: true}
}

// AddToChord adds a signature to the header of the chord that the running task is a
// member of, and publishes it: the chord's body waits for it, too. It returns an error
// outside of a chord.
func AddToChord(ctx context.Context, sig canvas.Signature) (*canvas.Result, error) {
	run, err := execution(ctx)
	if err != nil {
		return nil, err
	}
	return run.AddToChord(ctx, sig)
}
