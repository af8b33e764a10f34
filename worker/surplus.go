package worker

import (
	"context"
	"slices"
	"time"
)

// stalled looks whether more requests wait than the prefetch limit allows for, here or at the
// consumer, or any that were accepted, and whether a slot has taken one since the look before the last. If none has, it
// returns those above the limit, and those that were accepted, which are not in the backlog
// any more. over says to look again.
func (b *backlog) stalled() (surplus, accepted []*request, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	moved := b.takes != b.takesSeen
	b.takesSeen = b.takes
	if b.waitingLocked() <= b.prefetch && len(b.accepted) == 0 && !b.keepsOnCallLocked() {
		b.still = false
		return nil, nil, false
	}
	if moved || !b.still { // a process that was not given the processor for a while is not stuck
		b.still = !moved
		return nil, nil, true
	}
	b.still = false
	b.pace, b.limit = newPace(), b.prefetch
	if b.onCall.n > 0 {
		b.onCall.stalled(time.Now())
		signal(b.room) // the broker is told when it is looked for room
	}
	accepted, b.accepted = b.accepted, nil
	if keep := b.head + b.prefetch; keep < len(b.ready) {
		surplus = append(surplus, b.ready[keep:]...)
		clear(b.ready[keep:])
		b.ready = b.ready[:keep]
	}
	accepted = slices.DeleteFunc(accepted, func(r *request) bool {
		if r.acksLate {
			surplus = append(surplus, r) // it still counts
		}
		return r.acksLate
	})
	b.held -= len(surplus)
	return surplus, accepted, false
}

// returnSurplus gives back what was claimed ahead while the slots are stuck, and takes
// acknowledgements back that came too early.
func (p *pool) returnSurplus(ctx context.Context, stop <-chan struct{}) {
	timer := time.NewTimer(stallAfter / 2)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-p.backlog.over:
		}
		for over := true; over; {
			timer.Reset(stallAfter / 2)
			select {
			case <-stop:
				return
			case <-timer.C:
			}
			var surplus, accepted []*request
			if surplus, accepted, over = p.backlog.stalled(); len(surplus)+len(accepted) > 0 {
				p.runner.unstarted.unclaim(ctx, surplus)
				p.runner.unstarted.takeBack(ctx, accepted)
			}
		}
	}
}
