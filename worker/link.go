package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/canvas"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/serializer"
	"github.com/apium/apium/tasks"
)

var (
	errNoPublisher = errors.New("this worker has no publisher")
	errNoChords    = errors.New("this worker's result backend cannot count chords")
)

// canvasContext is what a task contributes to what it publishes.
func (w *Worker) canvasContext(r *request) canvas.Context {
	ctx := canvas.Context{
		Now: time.Now(), NewID: protocol.NewID,
		RootID: orElse(r.RootID, r.ID), ParentID: r.ID,
		Origin: w.origin, ReplyTo: w.replyTo,
		Task: w.taskOptions, Route: w.cfg.Route, Queue: w.cfg.Destination, DefaultQueue: w.cfg.DefaultQueue,
		ErrbacksOnHeader: w.cfg.ErrbacksOnHeader,
	}
	if w.cfg.InheritParentPriority {
		ctx.Priority = &r.Priority
	}
	return ctx
}

// taskOptions are the options that a registered task gives to what is published of it.
func (w *Worker) taskOptions(name string) (canvas.Options, bool) {
	t := w.task(name)
	if t == nil {
		return nil, false
	}
	options := canvas.Options{canvas.IgnoreResult(t.ignoreResult)}
	if w.cfg.PublishOptions != nil {
		options = append(options, w.cfg.PublishOptions(name)...)
	}
	return options, true
}

// follow adds to a settlement what a success leads to: callbacks, and the next step of
// the chain.
func (w *Worker) follow(s *settlement, result []byte) error {
	r := s.req
	if r.Embed.Callbacks == nil && r.Embed.Chain == nil {
		return nil
	}
	plan, err := canvas.Follow(r.Embed, result, w.canvasContext(r))
	if err != nil {
		return err
	}
	return w.carryOut(s.with(), r, plan)
}

// carryOut adds a plan to a flow. Sizes of chords and records of groups come before all
// messages: a member of a chord may be done before its siblings are published.
func (w *Worker) carryOut(f *flow, r *request, plan *canvas.Plan) error {
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
		f.publish = append(f.publish, publication)
	}
	if len(f.prepare) > 0 && (w.chords == nil || w.groups == nil) {
		return errNoChords
	}
	if r.task != nil && r.task.trail {
		for _, child := range plan.Children {
			r.publishedChild(child.Append(nil))
		}
	}
	return nil
}

// encode makes the message of a task, after the hooks have seen it.
func (w *Worker) encode(task *protocol.Task, p protocol.Publication) (broker.Publication, error) {
	if w.cfg.Publisher == nil {
		return broker.Publication{}, errNoPublisher
	}
	w.hooks.beforePublish(w.taskCtx, task)
	raw, err := protocol.EncodeTask(task, p)
	if err != nil {
		return broker.Publication{}, err
	}
	w.hooks.afterPublish(w.taskCtx, task)
	return broker.Publication{Exchange: task.Exchange, RoutingKey: task.RoutingKey, Message: raw}, nil
}

// encodeStep makes the message of a plan's step, in the form that its options ask for.
func (w *Worker) encodeStep(step *canvas.Publish) (broker.Publication, error) {
	step.Publication.Format = w.format
	if step.Serializer != "" || step.Compression != "" {
		format, err := serializer.Format(orElse(step.Serializer, w.cfg.TaskSerializer), orElse(step.Compression, w.cfg.TaskCompression))
		if err != nil {
			return broker.Publication{}, err
		}
		step.Publication.Format = format
	}
	publication, err := w.encode(step.Task, step.Publication)
	publication.ExchangeType = step.ExchangeType
	return publication, err
}

// failFollowing adds to the settlement of a failure what it means for others (Celery's
// Backend.mark_as_failure): the chord, the steps of the chain that will not run, and the
// error callbacks.
func (w *Worker) failFollowing(s *settlement, exc *protocol.Exception) {
	r := s.req
	w.countPart(s, protocol.Failure, exc.Append(nil))
	if r.Embed.Chain != nil {
		w.failChain(s.with(), r, r.Embed.Chain, exc)
	}
	if r.Embed.Errbacks == nil {
		return
	}
	errbacks, err := canvas.DecodeList(r.Embed.Errbacks)
	if err != nil {
		w.log.Error("Cannot read the errbacks of task "+nameAndID(r.Task)+": "+err.Error(), taskAttrs(r.Task)...)
		return
	}
	w.callErrbacks(s.with(), errbacks, failedTask{r: r, id: r.ID, rootID: r.RootID, request: &r.Request, exc: exc})
}

// failChain fails the remaining steps of a chain, and the bodies of the chords among them
// (Backend._fail_chain).
func (w *Worker) failChain(f *flow, r *request, chain []byte, exc *protocol.Exception) {
	failures, err := canvas.FailChain(chain)
	if err != nil {
		w.log.Error("Cannot read the chain of task "+nameAndID(r.Task)+": "+err.Error(), taskAttrs(r.Task)...)
		return
	}
	for i := range failures {
		w.failOther(f, r, &failures[i], exc)
	}
}

// failOther adds to a flow that a task, which was never published, has failed.
func (w *Worker) failOther(f *flow, r *request, failure *canvas.Failure, exc *protocol.Exception) {
	encoded := exc.Append(nil)
	if len(failure.Errbacks) > 0 {
		request := &tasks.Request{Task: &protocol.Task{Protocol: 2, ID: failure.TaskID}, Hostname: w.cfg.Hostname}
		w.callErrbacks(f, failure.Errbacks, failedTask{r: r, id: failure.TaskID, request: request, exc: exc})
	}
	if failure.TaskID != "" && (r.storeErrors || failure.Step.IsZero()) {
		f.records = append(f.records, backend.Record{TaskID: failure.TaskID, Document: w.otherRecord(r, failure, exc, encoded)})
	}
	if failure.Chord != nil && failure.GroupID != "" && failure.TaskID != "" {
		f.parts = append(f.parts, part{backend.ChordPart{
			GroupID: failure.GroupID, Index: failure.GroupIndex, TaskID: failure.TaskID,
			State: protocol.Failure, Result: encoded, Size: chordSize(failure.Chord),
		}, failure.Chord})
	}
}

// otherRecord is the record of a task that was never published. For the body of a chord
// Celery has no request: it takes the children of the task at whose end it is stored, if
// there is one.
func (w *Worker) otherRecord(r *request, failure *canvas.Failure, exc *protocol.Exception, encoded []byte) []byte {
	rec := protocol.Result{
		State: protocol.Failure, Result: encoded, TaskID: failure.TaskID, GroupID: failure.GroupID,
		DateDone: time.Now().In(w.cfg.Location),
	}
	if traceback := exc.Traceback; traceback != "" {
		rec.Traceback = &traceback
	}
	if failure.Step.IsZero() {
		if rec.Children = []byte("null"); r.phase.Load() == returned {
			rec.Children = r.childrenJSON()
		}
	} else if w.cfg.ResultExtended {
		rec.Extended = &protocol.Extended{Name: failure.Step.Task(), Args: failure.Step.Args(), Kwargs: failure.Step.Kwargs()}
	}
	return rec.Append(nil)
}

func textOf(raw []byte) string {
	text, err := pyjson.Unquote(raw)
	if err != nil {
		return ""
	}
	return text
}

// elements returns the elements of a JSON array.
func elements(raw []byte) (list [][]byte) {
	s := pyjson.NewScanner(raw)
	if !s.Enter('[') {
		return nil
	}
	for s.Next() {
		list = append(list, s.Value())
	}
	return list
}

// member returns a member of a JSON object; nil if there is none.
func member(raw []byte, name string) (value []byte) {
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		return nil
	}
	for s.Next() {
		if string(s.Key()) == name {
			value = s.Value()
		}
	}
	return value
}

// failedTask is what error callbacks are told: the task that failed, or a chord's body
// that will not run.
type failedTask struct {
	r       *request // on whose behalf
	id      string
	rootID  string
	request *tasks.Request
	exc     *protocol.Exception
}

// callErrbacks adds error callbacks to a flow (Backend._call_task_errbacks). Those that
// are registered here as Errback are called in this process once the failure is stored;
// all others are published with the failed task's id.
func (w *Worker) callErrbacks(f *flow, errbacks []canvas.Signature, failed failedTask) {
	var published []canvas.Signature
	for _, errback := range errbacks {
		t := w.task(errback.Task())
		if t == nil || !t.entry.Options.Errback {
			published = append(published, errback)
			continue
		}
		f.finish = append(f.finish, func(ctx context.Context) { w.callErrback(ctx, t, errback, &failed) })
	}
	plan, err := canvas.Errbacks(published, failed.id, failed.rootID, w.canvasContext(failed.r))
	after := &flow{}
	if err == nil {
		err = w.carryOut(after, failed.r, plan)
	}
	if err != nil {
		w.log.Error("Cannot publish the errbacks of task "+failed.id+": "+err.Error(), "task_id", failed.id)
		return
	}
	f.prepare = append(f.prepare, after.prepare...)
	f.then = append(f.then, after.publish...)
}

// callErrback runs an errback in this process. What goes wrong in it is logged, and
// changes nothing.
func (w *Worker) callErrback(ctx context.Context, t *taskConfig, errback canvas.Signature, failed *failedTask) {
	task := &protocol.Task{
		Protocol: 2, Name: t.entry.Name, ID: protocol.NewID(), RootID: failed.rootID, ParentID: failed.id,
		Args: errback.Args(), Kwargs: []byte("{}"),
	}
	req := &tasks.Request{
		Task: task, Queue: failed.r.Queue, Hostname: w.cfg.Hostname,
		Failed: &tasks.Failure{Request: failed.request, Exception: failed.exc, Traceback: failed.exc.Traceback},
	}
	if _, err := t.entry.Call(ctx, req); err != nil {
		exc := tasks.ExceptionOf(err)
		w.log.Error(fmt.Sprintf("Errback '%s' raised an exception: %s", t.entry.Name, exc.Repr()), TracebackKey, exc.Traceback)
	}
}

// loadFailure finds out about the failed task whose id an errback got as its argument.
func (w *Worker) loadFailure(ctx context.Context, r *request) {
	args := elements(r.Args)
	if len(args) == 0 {
		return
	}
	id := textOf(args[0])
	r.Failed = &tasks.Failure{Request: &tasks.Request{Task: &protocol.Task{ID: id}}}
	if w.loader == nil {
		return
	}
	raw, err := w.loader.Load(ctx, id)
	if err != nil {
		return
	}
	if record, err := protocol.DecodeResult(raw); err == nil {
		r.Failed.Exception, _ = protocol.DecodeException(record.Result) // nil: it has not failed
		if record.Traceback != nil {
			r.Failed.Traceback = *record.Traceback
		}
	}
}

// prepare does what must be in the backend before messages are published.
func (w *Worker) prepare(ctx context.Context, group []settlement) {
	for i := range group {
		if f := group[i].flow; f != nil && !group[i].req.lost.Load() {
			for _, step := range f.prepare {
				w.persist(ctx, "prepare a chord", func() error {
					err := w.prepareStep(ctx, step)
					if errors.Is(err, backend.ErrUnreadable) {
						w.log.Error("Cannot prepare a chord: "+err.Error(), requestAttrs(group[i].req)...)
						return nil
					}
					return err
				})
			}
		}
	}
}

func (w *Worker) prepareStep(ctx context.Context, step canvas.Step) error {
	switch step := step.(type) {
	case canvas.SetChordSize:
		return w.chords.SetSize(ctx, step.GroupID, step.Size)
	case canvas.GrowChord:
		return w.chords.Grow(ctx, step.GroupID, 1)
	case canvas.SaveGroup:
		return w.groups.SaveGroup(ctx, step.GroupID, step.Record)
	}
	return nil
}
