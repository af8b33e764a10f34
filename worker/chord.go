package worker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// chordPublish is how long nobody else runs the body while it is being published.
const chordPublish = 30 * time.Second

// chordLook is how often it is looked whether somebody else has run the body.
const chordLook = time.Second

// part is a chord's part to be counted, and the chord's body.
type part struct {
	backend.ChordPart
	body []byte
}

// countPart adds the part to a settlement that a task is of its chord. Results that are
// ignored count, too.
func (w *Worker) countPart(s *settlement, state protocol.State, result []byte) {
	r := s.req
	if r.Task == nil || !r.inChord() {
		return
	}
	s.with().parts = append(s.with().parts, part{backend.ChordPart{
		GroupID: r.GroupID, Index: r.GroupIndex, TaskID: r.ID, State: state, Result: result, Size: chordSize(r.Embed.Chord),
	}, r.Embed.Chord})
}

// chordSize is where producers before Celery 5.1 say how many parts there are.
func chordSize(body []byte) int {
	var size int
	if raw := pyjson.Member(body, "chord_size"); raw == nil || pyjson.Unmarshal(raw, &size) != nil {
		return 0
	}
	return size
}

// completeChord runs the body of a chord whose last part was counted. When somebody else
// is at it, it waits until they are done, or in their place does it.
func (w *Worker) completeChord(ctx context.Context, r *request, p part, count backend.ChordCount, rest *settlement) {
	inherited := r.Redelivered // somebody may have got further than they could tell
	for count.State == backend.ChordClaimed {
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(count.Lease, chordLook)):
		}
		inherited = true
		counted, ok := w.settler.count(ctx, []backend.ChordPart{p.ChordPart})
		if !ok {
			return
		}
		count = counted[0]
	}
	if count.State != backend.ChordComplete {
		return
	}
	f := &flow{}
	failed := false
	results, err := w.chordResults(ctx, p.GroupID)
	var ids []string
	if err == nil {
		ids, err = w.runBody(f, r, p.body, results)
	}
	if ctx.Err() != nil {
		return // the worker is stopping: counting the part again runs the body
	}
	if err != nil {
		failed = true
		*f = flow{}
		w.failBody(f, r, p.body, err)
	}
	if inherited && w.anyDone(ctx, ids) {
		*f = flow{} // it was published, and only its chord is not finished
	}
	if !w.renewClaim(ctx, r, count.Claim) {
		return
	}
	finish := func(ctx context.Context) { w.finishChord(ctx, count.Claim, failed) }
	if w.settler.concluder == nil || rest.fate != late || rest.flow.Size+f.Size > publish.Portion {
		w.settleBody(ctx, r, f, finish)
		return
	}
	// In one step with the acknowledgement: else who dies in between leaves the part to
	// somebody who cannot know that the body is on its way.
	rest.flow.add(f)
	rest.flow.after = append(rest.flow.after, func(ctx context.Context) {
		if r.lost.Load() {
			w.settleBody(ctx, r, f, finish)
		} else {
			finish(ctx)
		}
	})
}

// settleBody settles what a complete chord leads to, then calls finish. It does not depend on
// the task's lease: once its part has completed the chord, nobody else will.
func (w *Worker) settleBody(ctx context.Context, r *request, f *flow, finish func(ctx context.Context)) {
	written := make(chan struct{})
	w.settle(settlement{req: &request{Request: r.Request, task: r.task}, flow: f, written: written})
	select {
	case <-written:
		finish(ctx)
	case <-ctx.Done(): // unfinished: counting the part again runs the body
	}
}

func (w *Worker) finishChord(ctx context.Context, claim backend.ChordClaim, failed bool) {
	w.settler.persist(ctx, "finish a chord", func() error {
		err := w.backend.Chords.Finish(ctx, claim, failed)
		if errors.Is(err, backend.ErrClaimLost) || errors.Is(err, backend.ErrUnreadable) {
			return nil // there is nothing more to be done about it
		}
		return err
	})
}

// renewClaim makes sure that a chord is still ours, whose results took a while to read.
func (w *Worker) renewClaim(ctx context.Context, r *request, claim backend.ChordClaim) (ours bool) {
	ok := w.settler.persist(ctx, "claim a chord", func() error {
		err := w.backend.Chords.Renew(ctx, claim, chordPublish)
		if ours = err == nil; errors.Is(err, backend.ErrClaimLost) || errors.Is(err, backend.ErrUnreadable) {
			w.log.Warn("The body of chord "+claim.GroupID+" is not published here: "+err.Error(),
				logline.EventKey, "The body of a chord is not published here", "group_id", claim.GroupID, "task_id", r.ID, "error", err)
			return nil
		}
		return err
	})
	return ok && ours
}

// runBody adds the body's publication to a flow, and returns the ids of its messages.
func (w *Worker) runBody(f *flow, r *request, body, results []byte) (ids []string, err error) {
	sig, err := canvas.Decode(body)
	var plan *canvas.Plan
	if err == nil {
		plan, err = canvas.Apply(sig, []json.RawMessage{results}, nil, w.environment(r))
	}
	if err == nil {
		err = w.carryOut(f, plan)
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

// anyDone tells whether one of the tasks is done: then they were published. Their other
// states tell nothing, as they may be those of a task that was replaced by the chord.
func (w *Worker) anyDone(ctx context.Context, ids []string) (done bool) {
	w.settler.persist(ctx, "look for the body of a chord", func() error {
		records, err := w.stored.Loader.LoadMany(ctx, ids...)
		done = slices.ContainsFunc(records, func(record []byte) bool {
			state, err := backend.State(record)
			return record != nil && err == nil && state.Ready()
		})
		if errors.Is(err, backend.ErrUnreadable) {
			return nil
		}
		return err
	})
	return done
}
