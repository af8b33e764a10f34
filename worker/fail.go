package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// failFollowing adds to the settlement of a failure what it means for others (Celery's
// Backend.mark_as_failure): the chord, the steps of the chain that will not run, and the
// error callbacks.
func (w *Worker) failFollowing(s *settlement, exc *protocol.Exception) {
	r := s.req
	w.countPart(s, protocol.Failure, exc.Append(nil))
	if r.Embed.Chain != nil {
		steps, err := canvas.FailChain(r.Embed.Chain)
		if err != nil {
			w.log.taskError(r, "Cannot read the chain of a task", "Cannot read the chain of task "+nameAndID(r.Task), err)
		}
		for i := range steps {
			w.failStep(s.with(), &steps[i], exc, exc.Traceback, r.storeErrors)
		}
	}
	if r.Embed.Errbacks != nil {
		errbacks, err := canvas.DecodeList(r.Embed.Errbacks)
		if err != nil {
			w.log.taskError(r, "Cannot read the errbacks of a task", "Cannot read the errbacks of task "+nameAndID(r.Task), err)
		}
		w.callErrbacks(s.with(), errbacks, failedTask{
			r: r, id: r.ID, rootID: r.RootID, request: &r.Request, exc: exc, traceback: exc.Traceback,
		})
	}
}

// failStep fails a step of a chain that will not run (Backend._fail_chain).
func (w *Worker) failStep(f *flow, step *canvas.Failure, exc *protocol.Exception, traceback string, store bool) {
	encoded := exc.Append(nil)
	if step.TaskID != "" && store {
		f.records = append(f.records, backend.Record{TaskID: step.TaskID, Document: w.stepRecord(step, encoded, traceback)})
	}
	if step.Chord != nil && step.GroupID != "" && step.TaskID != "" {
		f.parts = append(f.parts, part{backend.ChordPart{
			GroupID: step.GroupID, Index: step.GroupIndex, TaskID: step.TaskID, State: protocol.Failure, Result: encoded,
			Size: chordSize(step.Chord),
		}, step.Chord})
	}
}

func (w *Worker) stepRecord(step *canvas.Failure, encoded []byte, traceback string) []byte {
	rec := protocol.Result{
		State: protocol.Failure, Result: encoded, TaskID: step.TaskID, GroupID: step.GroupID, DateDone: time.Now().In(w.cfg.Location),
	}
	if traceback != "" {
		rec.Traceback = &traceback
	}
	rec.ParentID = textOf(step.Step.Option("parent_id"))
	if !w.cfg.ResultExtended {
		return rec.Append(nil)
	}
	// A chain, group or chord has its kwargs only as it is written.
	if sig, err := protocol.DecodeSignature(step.Step.Append(nil)); err == nil {
		rec.Extended = &protocol.Extended{Name: sig.Task, Args: sig.Args, Kwargs: sig.Kwargs}
	}
	return rec.Append(nil)
}

// failBody adds to a flow what the failure of a chord means (Backend.chord_error_from_stack):
// the body's errbacks are called, and its result, and that of all that would have come
// after it, is the error. In a body that is a group every task fails, with the exception
// of the part. r is the task that has completed the chord.
func (w *Worker) failBody(f *flow, r *request, body []byte, err error) {
	var failure *chordError
	if !errors.As(err, &failure) {
		failure = &chordError{text: "Join error: " + tasks.ExceptionOf(err).Repr()}
	}
	exc := failure.exception()
	w.log.task(slog.LevelError, r, "Chord raised", fmt.Sprintf("Chord '%s' raised: %s", r.GroupID, exc.Repr()),
		slog.String("group_id", r.GroupID), slog.String("exception", exc.Repr()))
	sig, err := canvas.Decode(body)
	if err != nil {
		w.log.taskError(r, "Cannot read the body of a chord", "Cannot read the body of a chord", err)
		return
	}
	failures, err := canvas.FailBody(sig, protocol.NewID)
	if err != nil {
		w.log.taskError(r, "Cannot read what follows a chord", "Cannot read what follows a chord", err)
	}
	own := exc // the exception of the body itself
	if sig.SubtaskType() == "group" && failure.cause != nil {
		own = failure.cause
	}
	for i := range failures {
		if fail := &failures[i]; !fail.Step.IsZero() {
			w.failStep(f, fail, exc, "", true)
		} else {
			w.failMember(f, r, sig, fail, own, exc.Traceback)
		}
	}
}

// failMember fails a chord's body, a member of a body that is a group, or such a group
// itself, none of which was ever published.
func (w *Worker) failMember(f *flow, r *request, body canvas.Signature, fail *canvas.Failure, exc *protocol.Exception, traceback string) {
	if len(fail.Errbacks) > 0 {
		task := &protocol.Task{Protocol: 2, Name: "unknown", ID: fail.TaskID}
		if body.SubtaskType() != "group" {
			task.Name, task.Args, task.Kwargs = body.Task(), body.Args(), body.Kwargs()
		}
		w.callErrbacks(f, fail.Errbacks, failedTask{
			r: r, id: fail.TaskID, request: &tasks.Request{Task: task, Hostname: w.cfg.Hostname}, exc: exc,
		})
	}
	rec := protocol.Result{
		State: protocol.Failure, Result: exc.Append(nil), Children: r.childrenJSON(), TaskID: fail.TaskID,
		DateDone: time.Now().In(w.cfg.Location),
	}
	if phase := r.phase.Load(); phase != running && phase != returned { // in Celery's main process no task runs
		rec.Children = []byte("null")
	}
	if !fail.Group {
		rec.Traceback = &traceback
	}
	f.records = append(f.records, backend.Record{TaskID: fail.TaskID, Document: rec.Append(nil)})
}
