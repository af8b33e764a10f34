package worker

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/apium/apium/protocol/canvas"
)

var (
	errNoPublisher = errors.New("this worker has no publisher")
	errNoChords    = errors.New("this worker's result backend cannot count chords")
)

// environment is what a task contributes to what it publishes.
func (o *outcomes) environment(r *request) canvas.Environment {
	env := o.maker.Environment()
	env.Now = o.now()
	env.RootID, env.ParentID = cmp.Or(r.RootID, r.ID), r.ID
	if o.inheritPriority {
		env.Priority = &r.Priority
	}
	return env
}

// follow adds to a settlement what a success leads to: callbacks, and the next step of
// the chain.
func (o *outcomes) follow(s *settlement, result []byte) error {
	r := s.req
	if r.Embed.Callbacks == nil && r.Embed.Chain == nil {
		return nil
	}
	plan, err := canvas.Follow(r.Embed, result, o.environment(r))
	if err != nil {
		return err
	}
	if err := o.carryOut(o.context(r), s.with(), plan); err != nil {
		return err
	}
	r.adopt(plan.Children)
	return nil
}

// carryOut adds a plan to a flow.
func (o *outcomes) carryOut(ctx context.Context, f *flow, plan *canvas.Plan) error {
	if !o.publishes && slices.ContainsFunc(plan.Steps, isMessage) {
		return errNoPublisher
	}
	if err := o.maker.Add(ctx, &f.Batch, plan); err != nil {
		return err
	}
	if len(f.Writes) > 0 && !o.keepsChords {
		return errNoChords
	}
	return nil
}

func isMessage(step canvas.Step) bool {
	_, is := step.(canvas.Publish)
	return is
}

// adopt notes as children what was published on behalf of a task, unless it keeps no trail.
func (r *request) adopt(children []*canvas.Result) {
	if r.task == nil || !r.task.trail {
		return
	}
	for _, child := range children {
		r.publishedChild(child.Append(nil))
	}
}
