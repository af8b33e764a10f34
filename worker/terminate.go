package worker

import (
	"time"

	"github.com/apium/apium/tasks"
)

// terminate stops requests that slots have. One that has not begun is stopped when it does.
func (rn *runner) terminate(signum int, match func(*request) bool) {
	for _, p := range rn.pools {
		for _, r := range p.slots.requests() {
			if match(r) && r.terminated.CompareAndSwap(nil, &signum) && r.phase.Load() == running {
				p.terminate(r)
			}
		}
	}
}

// terminate stops one request that runs.
func (p *pool) terminate(r *request) {
	if r.signalled.Swap(true) {
		return
	}
	r.stop(tasks.ErrRevoked)
	patience := r.slot.place.Stop((*Run)(r), Stop{Strength: StopSignal, Signal: *r.terminated.Load()})
	if patience == Patient {
		return
	}
	time.AfterFunc(patience, func() {
		if r.finish(abandoned) {
			p.abandon(r, p.runner.terminated(r))
		}
	})
}
