package worker

import (
	"cmp"
	"encoding/json"
	"errors"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// runBody adds the body's publication to a flow, and returns the ids of its messages. results are those of the header,
// raw JSON: there are no copies of them but the messages.
func (o *outcomes) runBody(f *flow, r *request, body []byte, results [][]byte) (ids []string, err error) {
	sig, err := canvas.Decode(body)
	var plan *canvas.Plan
	inset := protocol.NewInset(results)
	if err == nil {
		plan, err = canvas.Apply(sig, []json.RawMessage{inset.Mark()}, nil, o.environment(r))
	}
	if err == nil {
		for _, step := range plan.Steps {
			if message, ok := step.(canvas.Publish); ok {
				message.Task.Inset = inset
			}
		}
		err = o.carryOut(o.context(r), f, plan)
	}
	if err != nil {
		return nil, &chordError{text: "Callback error: " + tasks.ExceptionOf(err).Repr()}
	}
	r.adopt(plan.Children)
	for _, step := range plan.Steps {
		if message, ok := step.(canvas.Publish); ok {
			ids = append(ids, message.Task.ID)
		}
	}
	return ids, nil
}

// failBody adds to a flow what the failure of a chord means (Backend.chord_error_from_stack):
// the body's errbacks are called, and its result, and that of all that would have come
// after it, is the error. In a body that is a group every task fails, with the exception
// of the part. r is the task that has completed the chord.
func (o *outcomes) failBody(f *flow, r *request, body []byte, err error) (remarks []remark) {
	var failure *chordError
	if !errors.As(err, &failure) {
		failure = &chordError{text: "Join error: " + tasks.ExceptionOf(err).Repr()}
	}
	exc := failure.exception()
	remarks = []remark{{kind: chordRaised, exc: exc, text: cmp.Or(failure.group, r.GroupID)}}
	sig, err := canvas.Decode(body)
	if err != nil {
		return append(remarks, trouble("Cannot read the body of a chord", "Cannot read the body of a chord", err))
	}
	failures, err := canvas.FailBody(sig, protocol.NewID)
	if err != nil {
		remarks = append(remarks, trouble("Cannot read what follows a chord", "Cannot read what follows a chord", err))
	}
	own := exc // the exception of the body itself
	if sig.SubtaskType() == "group" && failure.cause != nil {
		own = failure.cause
	}
	for i := range failures {
		if fail := &failures[i]; !fail.Step.IsZero() {
			o.failStep(f, fail, exc, "", true)
		} else {
			remarks = append(remarks, o.failMember(f, r, sig, fail, own, exc.Traceback)...)
		}
	}
	return remarks
}

// failMember fails a chord's body, a member of a body that is a group, or such a group
// itself, none of which was ever published.
func (o *outcomes) failMember(f *flow, r *request, body canvas.Signature, fail *canvas.Failure, exc *protocol.Exception, traceback string) (remarks []remark) {
	if len(fail.Errbacks) > 0 {
		task := &protocol.Task{Protocol: 2, Name: "unknown", ID: fail.TaskID}
		if body.SubtaskType() != "group" {
			task.Name, task.Args, task.Kwargs = body.Task(), body.Args(), body.Kwargs()
		}
		remarks = o.callErrbacks(f, fail.Errbacks, failedTask{
			r: r, id: fail.TaskID, request: &tasks.Request{Task: task, Hostname: o.hostname}, exc: exc,
		})
	}
	rec := protocol.Result{
		State: protocol.Failure, Result: exc.Append(nil), Children: r.childrenJSON(), TaskID: fail.TaskID,
		DateDone: o.now().In(o.location),
	}
	if phase := r.phase.Load(); phase != running && phase != returned { // in Celery's main process no task runs
		rec.Children = []byte("null")
	}
	if !fail.Group {
		rec.Traceback = &traceback
	}
	f.records = append(f.records, backend.Record{TaskID: fail.TaskID, Document: rec.Append(nil)})
	return remarks
}
