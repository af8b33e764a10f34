package worker

import (
	"context"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// shadowExecution is what a shadow can have done while it runs: nothing. It is told what it would be told otherwise.
type shadowExecution struct {
	r        *request
	outcomes *outcomes
}

var _ tasks.Execution = (*shadowExecution)(nil)

// UpdateState implements tasks.Execution.
func (e *shadowExecution) UpdateState(_ context.Context, _ string, meta any) error {
	_, err := pyjson.Append(nil, meta)
	return err
}

// Send implements tasks.Execution.
func (e *shadowExecution) Send(_ context.Context, sig canvas.Signature, opts ...canvas.Option) (*canvas.Result, error) {
	return resultOf(canvas.Apply(sig, nil, opts, e.outcomes.environment(e.r)))
}

// Replace implements tasks.Execution.
func (e *shadowExecution) Replace(_ context.Context, sig canvas.Signature) error {
	_, err := canvas.Replace(sig, e.r.Task, e.outcomes.environment(e.r))
	return err
}

// AddToChord implements tasks.Execution.
func (e *shadowExecution) AddToChord(_ context.Context, sig canvas.Signature) (*canvas.Result, error) {
	return resultOf(canvas.AddToChord(sig, e.r.Task, e.outcomes.environment(e.r)))
}

// resultOf is the result of a plan that is not carried out.
func resultOf(plan *canvas.Plan, err error) (*canvas.Result, error) {
	if err != nil {
		return nil, err
	}
	return plan.Result, nil
}
