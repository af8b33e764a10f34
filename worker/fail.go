package worker

import (
	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
)

// failFollowing adds to the settlement of a failure what it means for others (Celery's
// Backend.mark_as_failure): the chord, the steps of the chain that will not run, and the
// error callbacks.
func (o *outcomes) failFollowing(s *settlement, exc *protocol.Exception) {
	r := s.req
	o.countPart(s, protocol.Failure, exc.Append(nil))
	if r.Embed.Chain != nil {
		steps, err := canvas.FailChain(r.Embed.Chain)
		if err != nil {
			s.end.remarks = append(s.end.remarks, trouble("Cannot read the chain of a task", "Cannot read the chain of task "+nameAndID(r.Task), err))
		}
		for i := range steps {
			o.failStep(s.with(), &steps[i], exc, exc.Traceback, r.storeErrors)
		}
	}
	if r.Embed.Errbacks != nil {
		errbacks, err := canvas.DecodeList(r.Embed.Errbacks)
		if err != nil {
			s.end.remarks = append(s.end.remarks, trouble("Cannot read the errbacks of a task", "Cannot read the errbacks of task "+nameAndID(r.Task), err))
		}
		s.end.remarks = append(s.end.remarks, o.callErrbacks(s.with(), errbacks, failedTask{
			r: r, id: r.ID, rootID: r.RootID, request: &r.Request, exc: exc, traceback: exc.Traceback,
		})...)
	}
}

// failStep fails a step of a chain that will not run (Backend._fail_chain).
func (o *outcomes) failStep(f *flow, step *canvas.Failure, exc *protocol.Exception, traceback string, store bool) {
	encoded := exc.Append(nil)
	if step.TaskID != "" && store {
		f.records = append(f.records, backend.Record{
			TaskID: step.TaskID, Document: o.stepRecord(step, encoded, traceback), ReplyTo: pyjson.Text(step.Step.Option("reply_to")),
		})
	}
	if step.Chord != nil && step.GroupID != "" && step.TaskID != "" {
		f.parts = append(f.parts, part{ChordPart: backend.ChordPart{
			GroupID: step.GroupID, Index: step.GroupIndex, TaskID: step.TaskID, State: protocol.Failure, Result: encoded,
			Size: chordSize(step.Chord),
		}, body: step.Chord})
	}
}

func (o *outcomes) stepRecord(step *canvas.Failure, encoded []byte, traceback string) []byte {
	rec := protocol.Result{
		State: protocol.Failure, Result: encoded, TaskID: step.TaskID, GroupID: step.GroupID, DateDone: o.now().In(o.location),
	}
	if traceback != "" {
		rec.Traceback = &traceback
	}
	rec.ParentID = pyjson.Text(step.Step.Option("parent_id"))
	if !o.extended {
		return rec.Append(nil)
	}
	// A chain, group or chord has its kwargs only as it is written.
	if sig, err := protocol.DecodeSignature(step.Step.Append(nil)); err == nil {
		rec.Extended = &protocol.Extended{Name: sig.Task, Args: sig.Args, Kwargs: sig.Kwargs}
	}
	return rec.Append(nil)
}
