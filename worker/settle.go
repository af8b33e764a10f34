package worker

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol/canvas"
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
	fate      fate
	queue     string    // of forward
	reason    string    // of burial
	end       *outcome  // nil: the task goes on
	rejected  rejection // is announced with the end
	announced bool      // the end is

	written chan struct{} // closed when all is written; nil: nobody waits
}

// flow is what a settlement means for other tasks, in the order in which it is written.
type flow struct {
	prepare []canvas.Step               // sizes of chords, records of groups
	publish []outgoing                  // before the record: callbacks, the next step, a retry
	size    int                         // of publish and then, as far as they come from plans, in bytes
	records []backend.Record            // after it: the steps that will not run any more
	parts   []part                      // to be counted
	then    []outgoing                  // error callbacks
	finish  []finisher                  // takes longer: on a goroutine of its own, before the fate
	after   []func(ctx context.Context) // what a finisher wants done when all is written
}

// finisher does what takes longer. It may add to what is left of its settlement.
type finisher func(ctx context.Context, rest *settlement)

// with returns the settlement's flow, to be added to.
func (s *settlement) with() *flow {
	if s.flow == nil {
		s.flow = &flow{}
	}
	return s.flow
}

// add adds what another flow means, after what this one does.
func (f *flow) add(more *flow) {
	f.prepare = append(f.prepare, more.prepare...)
	f.publish = append(f.publish, more.publish...)
	f.size += more.size
	f.records = append(f.records, more.records...)
	f.parts = append(f.parts, more.parts...)
	f.then = append(f.then, more.then...)
	f.finish = append(f.finish, more.finish...)
}

// successors yields all that is published.
func (f *flow) successors() iter.Seq[outgoing] {
	return func(yield func(outgoing) bool) {
		for _, messages := range [][]outgoing{f.publish, f.then} {
			for _, m := range messages {
				if !yield(m) {
					return
				}
			}
		}
	}
}

const (
	settleGroup   = 512 // settlements in one group, at most
	settleBacklog = 2 * settleGroup
)

// settle hands over to the settler. It blocks while the settler is far behind,
// which is how an unreachable Redis stops the worker from running more tasks.
//
// After a cold shutdown nobody settles any more: what a handler still brings is dropped.
func (w *Worker) settle(s settlement) {
	w.settleMu.RLock()
	defer w.settleMu.RUnlock()
	if !w.settleClosed {
		w.unsettled.Add(1)
		select {
		case w.settlements <- s:
		default:
			r := s.req
			r.stuck.Add(1)
			w.settlements <- s
			r.stuck.Add(-1)
		}
	}
}

// settled notes that settlements are written.
func (w *Worker) settled(n int) {
	if n > 0 && w.unsettled.Add(-int64(n)) == 0 {
		signal(w.allSettled)
	}
}

// awaitSettled waits until everything that was handed over is written, with what that
// leads to: a chord's body is published after its last member is stored.
func (w *Worker) awaitSettled(ctx context.Context) {
	for w.unsettled.Load() > 0 {
		select {
		case <-w.allSettled:
		case <-ctx.Done():
			return
		}
	}
}

func (w *Worker) closeSettlements() {
	w.settleMu.Lock()
	defer w.settleMu.Unlock()
	w.settleClosed = true
	close(w.settlements)
}

// settleLoop writes what is to be written, in the order in which it came in, for
// as many requests at a time as are waiting: the busier the worker, the fewer
// round trips per task. It ends when the channel is closed and empty.
func (w *Worker) settleLoop(ctx context.Context) {
	group := make([]settlement, 0, settleGroup)
	for s := range w.settlements {
		group = append(group[:0], s)
		for more := true; more && len(group) < settleGroup; {
			select {
			case s, open := <-w.settlements:
				if more = open; open {
					group = append(group, s)
				}
			default:
				more = false
			}
		}
		w.settleTogether(ctx, group)
		clear(group)
	}
}

// settleTogether is the only place that stores results and acknowledges messages late. The
// order is Celery's: what follows a success, results, chords, what follows a failure, late
// acknowledgements. A message is acknowledged late only when all else is confirmed; what
// follows from it is published in the same step, if possible.
func (w *Worker) settleTogether(ctx context.Context, group []settlement) {
	w.prepare(ctx, group)
	w.announceAll(group, isRetry)
	w.publish(ctx, group, func(f *flow) []outgoing { return f.publish })
	w.store(ctx, group)
	w.countParts(ctx, group)
	w.publish(ctx, group, func(f *flow) []outgoing { return f.then })
	group = w.finishApart(ctx, group)
	w.conclude(ctx, group)
	w.acknowledge(ctx, group)
	w.announceAll(group, goesBack)
	w.disposeOf(ctx, group)
	w.announceAll(group, isAny)
	for i := range group {
		if group[i].written != nil {
			close(group[i].written)
		}
	}
	w.settled(len(group))
}

// finishApart starts what takes longer, and leaves it to settle the rest of its request.
func (w *Worker) finishApart(ctx context.Context, group []settlement) (rest []settlement) {
	rest = group[:0]
	for i := range group {
		s := &group[i]
		if s.flow == nil || s.flow.finish == nil || s.req.lost.Load() {
			rest = append(rest, *s)
			continue
		}
		go w.finish(ctx, *s)
	}
	return rest
}

// finish does what takes longer, and settles the rest. The settlement counts as unwritten
// until that, and what comes after it, is done.
func (w *Worker) finish(ctx context.Context, s settlement) {
	f := s.flow
	left := &flow{}
	if w.concludes(&s) {
		left.publish, left.then, left.size = f.publish, f.then, f.size
	}
	s.flow, s.record = left, nil
	for _, finish := range f.finish {
		finish(ctx, &s)
	}
	if after := left.after; after != nil {
		whole := s.written
		s.written, left.after = make(chan struct{}), nil
		w.settle(s)
		select {
		case <-s.written:
			for _, do := range after {
				do(ctx)
			}
		case <-ctx.Done():
		}
		if whole != nil {
			close(whole)
		}
	} else {
		w.settle(s)
	}
	w.settled(1)
}

// disposeOf moves the messages that are not acknowledged but go elsewhere.
func (w *Worker) disposeOf(ctx context.Context, group []settlement) {
	var back, parked []*request
	var letters []broker.DeadLetter
	var forwarded map[string][]*request
	for i := range group {
		s := &group[i]
		if s.req.lost.Load() {
			continue
		}
		switch s.fate {
		case none, late: // it stays, or is gone
		case requeue:
			back = append(back, s.req)
		case park:
			parked = append(parked, s.req)
		case forward:
			if forwarded == nil {
				forwarded = make(map[string][]*request)
			}
			forwarded[s.queue] = append(forwarded[s.queue], s.req)
		case burial:
			w.leases.remove(s.req)
			letters = append(letters, broker.DeadLetter{Delivery: s.req.delivery(), Reason: s.reason, At: time.Now()})
		default: // was acknowledged, or is not to be
		}
	}
	if len(parked) > 0 {
		w.parkTogether(ctx, parked)
	}
	if len(back) > 0 {
		w.leases.remove(back...)
		w.persist(ctx, "requeue messages", func() error {
			return w.cfg.Consumer.Requeue(ctx, broker.Back, deliveriesOf(back)...)
		})
	}
	for queue, requests := range forwarded {
		w.leases.remove(requests...)
		w.persist(ctx, "forward messages", func() error {
			return w.mover.Forward(ctx, queue, deliveriesOf(requests)...)
		})
	}
	if len(letters) > 0 {
		w.persist(ctx, "bury messages", func() error { return w.mover.Bury(ctx, letters...) })
	}
}

// acknowledge acks the messages of a group that are acknowledged late.
func (w *Worker) acknowledge(ctx context.Context, group []settlement) {
	tags, acked := w.tags[:0], w.acked[:0]
	for i := range group {
		r := group[i].req
		if group[i].fate == late && !r.lost.Load() {
			tags, acked = append(tags, r.tag), append(acked, r)
		}
	}
	if len(tags) == 0 {
		return
	}
	w.tags, w.acked = tags, acked
	w.ack(ctx, acked, tags)
	clear(acked)
}

// ack acknowledges messages, given with their tags, and notes which of them were lost. It
// reports false when the worker ends before it knows. The leases are forgotten first: a
// renewal that overlaps must not take an acknowledged message for a lost one.
func (w *Worker) ack(ctx context.Context, requests []*request, tags []string) (known bool) {
	w.leases.remove(requests...)
	return w.persist(ctx, "acknowledge messages", func() error {
		lost, err := w.cfg.Consumer.Ack(ctx, tags...)
		if err == nil {
			for _, tag := range lost {
				w.leaseLost(requests[slices.Index(tags, tag)])
			}
		}
		return err
	})
}

// store writes the group's records. A failure of a task that lost its lease is not
// stored: it may be due to that loss, and whoever runs the task now will answer.
func (w *Worker) store(ctx context.Context, group []settlement) {
	records := w.records[:0]
	for i := range group {
		s := &group[i]
		if s.req.lost.Load() && (s.end == nil || s.end.kind != Succeeded) {
			continue
		}
		if s.record != nil {
			records = append(records, backend.Record{TaskID: s.req.ID, Document: s.record})
		}
		if s.flow != nil && !s.req.lost.Load() {
			records = append(records, s.flow.records...)
		}
	}
	if len(records) == 0 {
		return
	}
	w.records = records
	w.persist(ctx, "store results", func() error {
		err := w.cfg.Store.Store(ctx, records...)
		if refused := refusedRecords(err); refused != nil {
			for _, e := range refused {
				w.log.Error("Cannot store the result of task "+e.TaskID+": "+e.Err.Error(),
					logline.EventKey, "Cannot store a result", "task_id", e.TaskID, "error", e.Err)
			}
			return nil
		}
		return err
	})
	clear(records)
}

// refusedRecords returns the refusals if they are all that went wrong.
func refusedRecords(err error) []*backend.RecordError {
	var one *backend.RecordError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*backend.RecordError
		for _, e := range joined.Unwrap() {
			if !errors.As(e, &one) {
				return nil
			}
			all = append(all, one)
		}
		return all
	}
	if errors.As(err, &one) {
		return []*backend.RecordError{one}
	}
	return nil
}

const (
	retryFirst = 50 * time.Millisecond
	retryLast  = 5 * time.Second
	// retryStopping takes its place while the worker stops.
	retryStopping = 500 * time.Millisecond
)

// persist repeats op until it succeeds or ctx is done, with exponential backoff
// and jitter. What is unsettled when ctx ends stays in the broker, where peers
// find it; persist then reports false.
func (w *Worker) persist(ctx context.Context, what string, op func() error) bool {
	wait := retryFirst
	for attempt := 1; ; attempt++ {
		err := op()
		if err == nil {
			w.persisted.Add(1)
			if attempt > 1 {
				w.log.Info("Managed to "+what+" again", logline.EventKey, "Managed again", "what", what)
			}
			return true
		}
		if ctx.Err() != nil {
			w.log.Error("Gave up trying to "+what+": "+err.Error(), logline.EventKey, "Gave up trying", "what", what, "error", err)
			return false
		}
		if attempt == 1 {
			w.log.Error("Cannot "+what+": "+err.Error()+". Trying again until it works",
				logline.EventKey, "Trying again until it works", "what", what, "error", err)
		}
		stopping, longest := w.noStart, retryLast
		if w.stopping.Load() {
			stopping, longest = nil, retryStopping
		}
		wait = min(wait, longest)
		select {
		case <-ctx.Done():
		case <-stopping: // there is little time
		case <-time.After(rand.N(wait) + wait/2): //nolint:gosec // jitter
		}
		wait *= 2
	}
}
