package worker

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
)

// settler is the only one that writes for tasks: it publishes, stores results, counts parts
// of chords, acknowledges messages late and moves them elsewhere, in groups.
type settler struct {
	settlerDeps
	*persister

	queue     chan settlement
	mu        sync.RWMutex // held for reading while sending to queue
	closed    bool
	unwritten atomic.Int64  // settlements that are not written yet
	allDone   chan struct{} // capacity 1: there are none any more
}

// settlerDeps is what a settler needs of others.
type settlerDeps struct {
	consumer  broker.Consumer
	sender    *publish.Sender
	concluder broker.Concluder // nil: publishing and acknowledging are two steps
	mover     broker.Mover     // nil: there are no burials
	parker    broker.Parker    // nil: nothing is parked
	store     backend.Store
	publish.Backend

	leases    *leases
	observers observers
	// succeeded remembers the tasks that have, for Config.Deduplicate; nil: nobody asks.
	succeeded *memory

	// parked is called with what has gone to the broker's keeping.
	parked func(ctx context.Context, requests []*request)
	// unparkable is called with what could not be parked, and is held as before.
	unparkable func(requests []*request)
	// startNext starts what is passed on.
	startNext func(ctx context.Context, next *passedOn)
	// callErrback calls an error callback in this process.
	callErrback func(ctx context.Context, c *errbackCall)
	// complete runs the body of a chord whose last part was counted. It may add to what is
	// left of the settlement.
	complete func(ctx context.Context, r *request, p part, count backend.ChordCount, rest *settlement)
}

const (
	settleGroup   = 512 // settlements in one group, at most
	settleBacklog = 2 * settleGroup
)

func newSettler(deps settlerDeps, p *persister) *settler {
	return &settler{
		settlerDeps: deps, persister: p,
		queue: make(chan settlement, settleBacklog), allDone: make(chan struct{}, 1),
	}
}

// settle hands over what is to be written. It blocks while the settler is far behind,
// which is how an unreachable Redis stops the worker from running more tasks.
//
// After a cold shutdown nobody settles any more: what a handler still brings is dropped.
func (s *settler) settle(what settlement) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.closed {
		s.expect()
		select {
		case s.queue <- what:
		default:
			r := what.req
			r.stuck.Add(1)
			s.queue <- what
			r.stuck.Add(-1)
		}
	}
}

// expect announces a settlement, so that a shutdown waits for it. written follows.
func (s *settler) expect() { s.unwritten.Add(1) }

// written notes that settlements are.
func (s *settler) written(n int) {
	if n > 0 && s.unwritten.Add(-int64(n)) == 0 {
		signal(s.allDone)
	}
}

// await waits until everything that was handed over is written, with what that
// leads to: a chord's body is published after its last member is stored.
func (s *settler) await(ctx context.Context) {
	for s.unwritten.Load() > 0 {
		select {
		case <-s.allDone:
		case <-ctx.Done():
			return
		}
	}
}

// close ends run when all is written that was handed over.
func (s *settler) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	close(s.queue)
}

// run writes what is to be written. It ends when the settler is closed and all is written.
func (s *settler) run(ctx context.Context) {
	confirming := &lane{settler: s, queue: make(chan settlement, settleBacklog)}
	var running sync.WaitGroup
	running.Go(func() { confirming.run(ctx) })
	(&lane{settler: s, queue: s.queue, confirming: confirming.queue}).run(ctx)
	close(confirming.queue)
	running.Wait()
}

// write is the only place that stores results and acknowledges messages late. The
// order is Celery's: what follows a success, results, chords, what follows a failure, late
// acknowledgements. A message is acknowledged late only when all else is confirmed; what
// follows from it is published in the same step, if possible.
func (s *lane) write(ctx context.Context, group []settlement) {
	s.prepare(ctx, group)
	s.announceAll(group, isRetry)
	s.publish(ctx, group, func(f *flow) []publish.Message { return f.Messages })
	s.storeRecords(ctx, group)
	s.countParts(ctx, group)
	s.publish(ctx, group, func(f *flow) []publish.Message { return f.then })
	group = s.finishApart(ctx, group)
	s.conclude(ctx, group)
	s.acknowledge(ctx, group)
	s.announceAll(group, goesBack)
	s.dispose(ctx, group)
	s.announceAll(group, isAny)
	for i := range group {
		if next := group[i].next; next != nil {
			group[i].next = nil
			s.startNext(ctx, next)
		}
		if group[i].written != nil {
			close(group[i].written)
		}
	}
	s.written(len(group))
}

// finishApart starts what takes longer, and leaves it to settle the rest of its request.
func (s *lane) finishApart(ctx context.Context, group []settlement) (rest []settlement) {
	rest = group[:0]
	for i := range group {
		one := &group[i]
		if one.flow == nil || one.flow.finish == nil && one.flow.calls == nil || one.req.lost.Load() {
			rest = append(rest, *one)
			continue
		}
		go s.finish(ctx, *one)
	}
	return rest
}

// finish does what takes longer, and settles the rest. The settlement counts as unwritten
// until that, and what comes after it, is done.
func (s *settler) finish(ctx context.Context, what settlement) {
	f := what.flow
	left := &flow{}
	if s.concludes(&what) {
		left.Messages, left.then, left.Size = f.Messages, f.then, f.Size
	}
	what.flow, what.record = left, nil
	for i := range f.calls {
		s.callErrback(ctx, &f.calls[i])
	}
	for _, finish := range f.finish {
		finish(ctx, &what)
	}
	if after := left.after; after != nil {
		whole := what.written
		what.written, left.after = make(chan struct{}), nil
		s.settle(what)
		select {
		case <-what.written:
			for _, do := range after {
				do(ctx)
			}
		case <-ctx.Done():
		}
		if whole != nil {
			close(whole)
		}
	} else {
		s.settle(what)
	}
	s.written(1)
}
