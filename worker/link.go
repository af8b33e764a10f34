package worker

import (
	"cmp"
	"errors"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer"
)

var (
	errNoPublisher = errors.New("this worker has no publisher")
	errNoChords    = errors.New("this worker's result backend cannot count chords")
)

// environment is what a task contributes to what it publishes.
func (w *Worker) environment(r *request) canvas.Environment {
	env := canvas.Environment{
		Now: time.Now(), NewID: protocol.NewID,
		RootID: cmp.Or(r.RootID, r.ID), ParentID: r.ID,
		Origin: w.origin, ReplyTo: w.replyTo,
		Task: w.taskOptions, Check: w.cfg.Registry.CheckCall, Route: w.cfg.Route, Queue: w.cfg.Destination, DefaultQueue: w.cfg.DefaultQueue,
		ErrbacksOnHeader: w.cfg.ErrbacksOnHeader,
	}
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

// carryOut adds a plan to a flow. Sizes of chords and records of groups come before all
// messages: a member of a chord may be done before its siblings are published.
func (w *Worker) carryOut(f *flow, plan *canvas.Plan) error {
	for _, step := range plan.Steps {
		message, ok := step.(canvas.Publish)
		if !ok {
			f.prepare = append(f.prepare, step)
			continue
		}
		publication, err := w.encodeStep(&message)
		if err != nil {
			return err
		}
		if f.size += publication.Message.Size(); f.size > publishPortion {
			publication.Message, publication.later = protocol.Message{}, &message.Publication
		}
		f.publish = append(f.publish, publication)
	}
	if len(f.prepare) > 0 && (w.chords == nil || w.groups == nil) {
		return errNoChords
	}
	return nil
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

// encode makes the message of a task, after the hooks have seen it.
func (w *Worker) encode(task *protocol.Task, p protocol.Publication) (outgoing, error) {
	if w.cfg.Publisher == nil {
		return outgoing{}, errNoPublisher
	}
	w.hooks.beforePublish(w.taskCtx, task)
	message, err := protocol.EncodeTask(task, p)
	if err != nil {
		return outgoing{}, err
	}
	return outgoing{
		Publication: broker.Publication{Exchange: task.Exchange, RoutingKey: task.RoutingKey, Message: message}, task: task,
	}, nil
}

// encodeStep makes the message of a plan's step, in the form that its options ask for.
func (w *Worker) encodeStep(step *canvas.Publish) (outgoing, error) {
	step.Publication.Format = w.format
	if step.Serializer != "" || step.Compression != "" {
		format, err := serializer.Format(cmp.Or(step.Serializer, w.cfg.TaskSerializer), cmp.Or(step.Compression, w.cfg.TaskCompression))
		if err != nil {
			return outgoing{}, err
		}
		step.Publication.Format = format
	}
	publication, err := w.encode(step.Task, step.Publication)
	publication.ExchangeType = step.ExchangeType
	return publication, err
}

func textOf(raw []byte) string {
	text, err := pyjson.Unquote(raw)
	if err != nil {
		return ""
	}
	return text
}
