package worker

import (
	"strings"
	"time"

	"github.com/apium/apium/tasks"
)

// terminate stops requests that slots have. One that has not begun is stopped when it does. The
// error says that some of them cannot be stopped.
func (rn *runner) terminate(signum int, match func(*request) bool) (err error) {
	for _, p := range rn.pools {
		for _, r := range p.slots.requests() {
			switch {
			case !match(r):
			case p.restraints.NoTerminate:
				err = p.notImplemented("kill_job")
			case r.terminated.CompareAndSwap(nil, &signum) && r.phase.Load() == running:
				p.terminate(r)
			}
		}
	}
	return err
}

// notImplemented is what Celery's pools say that cannot do a thing (celery/concurrency/base.py).
func (p *pool) notImplemented(what string) error {
	class := strings.ReplaceAll(p.executor.Info().Implementation, ":", ".")
	return tasks.Raise("NotImplementedError", "<class '"+class+"'> does not implement "+what)
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
