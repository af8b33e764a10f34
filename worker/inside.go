package worker

import (
	"context"
	"fmt"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

var _ tasks.Execution = (*request)(nil)

// UpdateState implements tasks.Execution. The record goes the way of all others, so that
// it comes after STARTED and before the result.
func (r *request) UpdateState(ctx context.Context, state string, meta any) error {
	w := r.worker
	encoded, err := pyjson.Append(nil, meta)
	if err != nil {
		return fmt.Errorf("tasks: state %s of %s: %w", state, nameAndID(r.Task), err)
	}
	record := w.record(r, recordOf{state: protocol.State(state), result: encoded}, true)
	if record == nil {
		return nil
	}
	return r.write(ctx, settlement{req: r, record: record})
}

// write settles something of a task that runs, and waits until it is written.
func (r *request) write(ctx context.Context, s settlement) error {
	if r.phase.Load() != running {
		return fmt.Errorf("tasks: %s has ended: %w", nameAndID(r.Task), context.Cause(ctx))
	}
	s.written = make(chan struct{})
	r.worker.settle(s)
	select {
	case <-s.written:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
