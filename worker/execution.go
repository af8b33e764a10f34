package worker

import (
	"context"
	"fmt"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// execution is what a task that runs can have the worker do for it.
type execution struct {
	outcomes *outcomes
	settler  *settler
}

var _ tasks.Execution = (*request)(nil)

// UpdateState implements tasks.Execution. The record goes the way of all others, so that
// it comes after STARTED and before the result.
func (r *request) UpdateState(ctx context.Context, state string, meta any) error {
	encoded, err := pyjson.Append(nil, meta)
	if err != nil {
		return fmt.Errorf("tasks: state %s of %s: %w", state, nameAndID(r.Task), err)
	}
	record := r.execution.outcomes.record(r, recordOf{state: protocol.State(state), result: encoded}, true)
	if record == nil {
		return nil
	}
	return r.write(ctx, settlement{req: r, record: record})
}

// Send implements tasks.Execution.
func (r *request) Send(ctx context.Context, sig canvas.Signature, opts ...canvas.Option) (*canvas.Result, error) {
	plan, err := canvas.Apply(sig, nil, opts, r.execution.outcomes.environment(r))
	if err != nil {
		return nil, err
	}
	return plan.Result, r.publish(ctx, plan)
}

// Replace implements tasks.Execution. The replacement of a task that is acknowledged late goes
// with the acknowledgement: the handler is about to return.
func (r *request) Replace(ctx context.Context, sig canvas.Signature) error {
	plan, err := canvas.Replace(sig, r.Task, r.execution.outcomes.environment(r))
	if err != nil {
		return err
	}
	if r.execution.settler.concluder == nil || !r.acksLate {
		return r.publish(ctx, plan)
	}
	f := &flow{}
	if err := r.execution.outcomes.carryOut(ctx, f, plan); err != nil {
		return err
	}
	r.adopt(plan.Children)
	r.leave(f)
	return nil
}

// leave has a flow go along with the settlement of the task, whose handler is about to return.
func (r *request) leave(f *flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replacement = f
}

// takeReplacement adds to the settlement of a task what is to run in its place.
func (r *request) takeReplacement(s *settlement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.replacement != nil {
		s.with().add(r.replacement)
		r.replacement = nil
	}
}

// AddToChord implements tasks.Execution.
func (r *request) AddToChord(ctx context.Context, sig canvas.Signature) (*canvas.Result, error) {
	plan, err := canvas.AddToChord(sig, r.Task, r.execution.outcomes.environment(r))
	if err != nil {
		return nil, err
	}
	return plan.Result, r.publish(ctx, plan)
}

// publish carries out a plan of the running task, and waits until that is done.
func (r *request) publish(ctx context.Context, plan *canvas.Plan) error {
	s := settlement{req: r}
	if err := r.execution.outcomes.carryOut(ctx, s.with(), plan); err != nil {
		return err
	}
	r.adopt(plan.Children)
	return r.write(ctx, s)
}

// write settles something of a task that runs, and waits until it is written.
func (r *request) write(ctx context.Context, s settlement) error {
	if r.phase.Load() != running {
		return fmt.Errorf("tasks: %s has ended: %w", nameAndID(r.Task), context.Cause(ctx))
	}
	s.written = make(chan struct{})
	r.execution.settler.settle(s)
	r.stuck.Add(1)
	defer r.stuck.Add(-1)
	select {
	case <-s.written:
		if r.lost.Load() {
			return ErrLeaseLost // nothing is published for a task that runs elsewhere by now
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
