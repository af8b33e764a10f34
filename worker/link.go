package worker

import (
	"cmp"
	"errors"
	"slices"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
)

var (
	errNoPublisher = errors.New("this worker has no publisher")
	errNoChords    = errors.New("this worker's result backend cannot count chords")
)

// environment is what a task contributes to what it publishes.
func (w *Worker) environment(r *request) canvas.Environment {
	env := w.maker.Environment()
	env.RootID, env.ParentID = cmp.Or(r.RootID, r.ID), r.ID
	if w.cfg.InheritParentPriority {
		env.Priority = &r.Priority
	}
	return env
}

// taskOptions are the options that a registered task gives to what is published of it.
func (w *Worker) taskOptions(name string) (canvas.Options, bool) {
	t := w.tasks.of(name)
	if t == nil {
		return nil, false
	}
	return t.published, true
}

// follow adds to a settlement what a success leads to: callbacks, and the next step of
// the chain.
func (w *Worker) follow(s *settlement, result []byte) error {
	r := s.req
	if r.Embed.Callbacks == nil && r.Embed.Chain == nil {
		return nil
	}
	plan, err := canvas.Follow(r.Embed, result, w.environment(r))
	if err != nil {
		return err
	}
	if err := w.carryOut(s.with(), plan); err != nil {
		return err
	}
	r.adopt(plan.Children)
	return nil
}

// carryOut adds a plan to a flow.
func (w *Worker) carryOut(f *flow, plan *canvas.Plan) error {
	if w.cfg.Publisher == nil && slices.ContainsFunc(plan.Steps, isMessage) {
		return errNoPublisher
	}
	if err := w.maker.Add(w.taskCtx, &f.Batch, plan); err != nil {
		return err
	}
	if len(f.Writes) > 0 && !w.backend.Able() {
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

func textOf(raw []byte) string {
	text, err := pyjson.Unquote(raw)
	if err != nil {
		return ""
	}
	return text
}
