package worker

import (
	"context"
	"slices"
	"time"
)

// stallLook is the time between two looks.
const stallLook = stallAfter / 2

// stalled looks whether more requests wait than the prefetch limit allows for, here or at the
// consumer, or any that were accepted and can go back, and whether a slot has taken one for long. If none has, it
// returns those above the limit, and those that were accepted, which are not in the backlog
// any more. over says to look again.
func (b *backlog) stalled() (surplus, accepted []*request, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	moved := b.takes != b.takesSeen
	b.takesSeen = b.takes
	patience := stallAfter
	switch {
	case b.waitingLocked() > b.prefetch || b.returns && len(b.accepted) > 0:
	case b.keepsOnCallLocked():
		patience = onCallStall
	default:
		b.stills = 0
		return nil, nil, false
	}
	if b.stills++; moved {
		b.stills = 0
	}
	if b.stills < int(patience/stallLook) { // looks count: a process that was not given the processor for a while is not stuck
		return nil, nil, true
	}
	b.stills = 0
	b.pace, b.limit = newPace(), b.prefetch
	if b.onCall.n > 0 {
		b.onCall.stalled(time.Now())
		signal(b.room) // the broker is told when it is looked for room
	}
	if b.returns {
		accepted, b.accepted = b.accepted, nil
	}
	accepted = slices.DeleteFunc(accepted, func(r *request) bool {
		if r.acksLate {
			surplus = append(surplus, r) // it still counts
		}
		return r.acksLate
	})
	b.holding = slices.DeleteFunc(slices.Clone(accepted), func(r *request) bool { return !b.keeps(r) })
	if keep := b.head + max(b.prefetch-len(b.holding), 0); keep < len(b.ready) {
		surplus = append(surplus, b.ready[keep:]...)
		clear(b.ready[keep:])
		b.ready = b.ready[:keep]
	}
	b.held -= len(surplus)
	b.signalLocked() // slots may have become idle since the last look
	return surplus, accepted, false
}

// keeps tells whether what was accepted is held again instead of going back: what was passed on was never held.
func (b *backlog) keeps(r *request) bool { return b.counts && r.tag != "" }

// returnSurplus gives back what was claimed ahead while the slots are stuck, and takes
// acknowledgements back that came too early.
func (p *pool) returnSurplus(ctx context.Context, stop <-chan struct{}) {
	timer := time.NewTimer(stallLook)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-p.backlog.over:
		}
		for over := true; over; {
			timer.Reset(stallLook)
			select {
			case <-stop:
				return
			case <-timer.C:
			}
			var surplus, accepted []*request
			if surplus, accepted, over = p.backlog.stalled(); len(surplus)+len(accepted) > 0 {
				p.runner.unstarted.unclaim(ctx, surplus)
				p.takeBack(ctx, accepted)
			}
		}
	}
}

// takeBack takes acknowledgements back. Where the limit was given, there is room for what they are of, and it stays: nobody
// can tell that it was acknowledged, unless the worker is killed before that. Otherwise others shall have it, as they shall have what was
// passed on and has never been in a queue.
func (p *pool) takeBack(ctx context.Context, accepted []*request) {
	var held, back []*request
	for _, r := range accepted {
		if p.backlog.keeps(r) {
			held = append(held, r)
		} else {
			back = append(back, r)
		}
	}
	p.runner.unstarted.takeBack(ctx, back)
	if len(held) == 0 {
		return
	}
	p.runner.unstarted.hold(ctx, held)
	if !p.backlog.heldAgain(held) {
		for _, r := range held {
			p.runner.unstarted.add(r)
		}
	}
}
