package worker

import (
	"context"
	"errors"
	"time"

	"github.com/apium/apium/tasks"
)

// execute runs one request and hands its outcome to the settler. It reports false when
// the slot was abandoned meanwhile. It does not return when the handler ends its
// goroutine: then slots.died answers for it.
func (p *pool) execute(s *slot, r *request) (stay bool) {
	if !r.accepted && !p.mayBegin(r) {
		p.backlog.ran(r, 0)
		return true
	}
	ctx := &runContext{parent: p.runner.taskCtx}
	defer ctx.stop(nil)
	r.slot = s
	r.run.Store(ctx)
	s.current.Store(r)
	o := s.place.Run(ctx, (*Run)(r))
	switch r.phase.Load() {
	case waiting:
		s.current.Store(nil)
		p.waitAgain(r)
		return true
	case discarded:
		s.current.Store(nil)
		p.backlog.ran(r, 0)
		return true
	}
	return p.ended(ctx, s, r, o)
}

// stillWanted is [Run.StillWanted]. While it looks, nobody else answers for the request.
func (p *pool) stillWanted(r *request) bool {
	if !r.phase.CompareAndSwap(waiting, discarded) {
		return false // a cold shutdown gives it back
	}
	if p.runner.refused(r) {
		return false
	}
	r.phase.Store(waiting)
	return p.runner.leases.await(r, p.runner.noStart)
}

// mayBegin tells whether a request that is acknowledged late is to begin now. If not, it is
// seen to.
func (p *pool) mayBegin(r *request) bool {
	rn := p.runner
	if !p.prepared(r) || rn.finished(r) {
		return false
	}
	if !rn.leases.await(r, rn.noStart) {
		if !r.lost.Load() {
			rn.unstarted.add(r)
		}
		return false
	}
	return true
}

// begin is [Run.Begin].
func (p *pool) begin(ctx context.Context, r *request, pid int) bool {
	p.runner.mark(ctx, r) // before it is decided whether it begins: the message may be lost meanwhile
	if r.lost.Load() || !p.runner.leases.begin(r) {
		return false
	}
	r.started, r.pid = time.Now(), pid
	p.runner.inContext(ctx, r)
	if !r.phase.CompareAndSwap(waiting, running) {
		return false
	}
	// Whichever of begin and lose comes second sees what the first one wrote.
	if r.lost.Load() && r.phase.CompareAndSwap(running, waiting) {
		return false
	}
	p.runner.begun(ctx, r, pid)
	p.limitTime(r)
	if r.terminated.Load() != nil {
		p.terminate(r)
	}
	return true
}

// waitAgain has a request wait for a slot again that could not begin.
func (p *pool) waitAgain(r *request) {
	rn := p.runner
	switch {
	case r.lost.Load():
		p.backlog.ran(r, 0)
	case p.backlog.again(r):
	case r.acksLate:
		rn.unstarted.add(r)
		p.backlog.ran(r, 0)
	case rn.unstarted.takesBack():
		rn.unstarted.takeBack(rn.settleCtx, []*request{r})
	default:
		rn.settle(rn.cutOff(r))
	}
}

// ended hands the outcome of a request to the settler, unless that was answered for
// meanwhile: then it reports false.
func (p *pool) ended(ctx context.Context, s *slot, r *request, o Outcome) bool {
	runtime := time.Since(r.started)
	ctx = r.runContext(ctx)
	r.stopLimits()
	if !r.finish(returned) {
		s.current.Store(nil)
		p.slots.abandoned.Add(-1)
		p.runner.returnedLate(ctx, r)
		return false
	}
	rn := p.runner
	switch stopped := rn.aborted.Load() && errors.Is(context.Cause(ctx), tasks.ErrShutdown); {
	case stopped && r.acksLate:
		rn.unstarted.add(r) // cold shutdown: the message goes back, whatever came out
	case stopped && o.Err != nil && !tasks.IsOutcome(o.Err):
		rn.settle(rn.gaveUp(ctx, r))
	default:
		if o.Err != nil && errors.As(o.Err, new(*LostError)) {
			o = rn.unlessStored(r, o)
		}
		what := rn.outcome(ctx, r, o, runtime)
		if o.Settled != nil && what.end.kind == Retried {
			what = rn.announce(what) // it is published already, and may start at any moment
		}
		rn.settle(rn.passOn(what))
		if r.shadowed {
			rn.cast(r, o, what.end.runtime)
		}
	}
	s.current.Store(nil)
	p.backlog.ran(r, runtime)
	return true
}

// abandon settles a request that is not waited for any more.
func (p *pool) abandon(r *request, s settlement) {
	p.backlog.ran(r, time.Since(r.started))
	p.slots.replace(r.slot)
	p.runner.settle(s)
}
