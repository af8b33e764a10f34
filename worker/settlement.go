package worker

import (
	"context"
	"iter"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/publish"
)

// fate is what becomes of a message, and when within its settlement.
type fate int

const (
	none    fate = iota
	late         // acknowledged, after everything is confirmed
	requeue      // back to the end of its queue
	forward      // to the end of another queue
	burial       // to the dead letters
	park         // to the broker's keeping, until it is due
)

// settlement is what is to be written for a request at one point of its life: when it is
// received and does not run, when its handler starts, and when it has an outcome.
type settlement struct {
	req       *request
	flow      *flow  // nil: nobody but this task is concerned
	record    []byte // nil: nothing is stored
	encoded   []byte // the record as the store has it; nil: it is not encoded yet
	fate      fate
	queue     string    // of forward
	reason    string    // of burial
	end       *outcome  // nil: the task goes on
	rejected  rejection // is announced with the end
	revoked   bool      // it was terminated and has ended in its own way: both are announced
	announced bool      // the end is
	next      *passedOn // starts when all is written; nil: nothing

	written chan struct{} // closed when all is written; nil: nobody waits
}

// flow is what a settlement means for other tasks, in the order in which it is written.
type flow struct {
	publish.Batch                             // before the record: sizes of chords, records of groups, callbacks, the next step, a retry
	records       []backend.Record            // after it: the steps that will not run any more
	parts         []part                      // to be counted
	then          []publish.Message           // error callbacks
	calls         []errbackCall               // error callbacks of this process: they take longer
	finish        []finisher                  // takes longer: on a goroutine of its own, before the fate
	after         []func(ctx context.Context) // what a finisher wants done when all is written
}

// finisher does what takes longer. It may add to what is left of its settlement.
type finisher func(ctx context.Context, rest *settlement)

// after has a settlement go on after a while.
func after(wait time.Duration) finisher {
	return func(ctx context.Context, _ *settlement) { pause(ctx, wait) }
}

// with returns the settlement's flow, to be added to.
func (s *settlement) with() *flow {
	if s.flow == nil {
		s.flow = &flow{}
	}
	return s.flow
}

// add adds what another flow means, after what this one does.
func (f *flow) add(more *flow) {
	f.Append(&more.Batch)
	f.records = append(f.records, more.records...)
	f.parts = append(f.parts, more.parts...)
	f.then = append(f.then, more.then...)
	f.calls = append(f.calls, more.calls...)
	f.finish = append(f.finish, more.finish...)
}

// successors yields all that is published.
func (f *flow) successors() iter.Seq[*publish.Message] {
	return func(yield func(*publish.Message) bool) {
		for _, messages := range [][]publish.Message{f.Messages, f.then} {
			for i := range messages {
				if !yield(&messages[i]) {
					return
				}
			}
		}
	}
}
