package worker

import (
	"context"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/tasks"
)

// pool is an executor with its slots, and with what waits for these.
type pool struct {
	name        string
	index       int // among the runner's pools
	executor    Executor
	runner      *runner
	tasks       func() map[string][]tasks.Option // that it runs; nil: they are always the same
	prefetch    func(slots int) int              // the most messages that so many slots hold unacknowledged
	concurrency int                              // slots to start with
	restraints  Restraints
	inProcess   bool   // it runs Go handlers: bodies are read here
	acksLate    bool   // its tasks are acknowledged late
	waits       *waits // of its slots; nil: nobody asks

	backlog    *backlog
	slots      *slots
	autoscaler *autoscaler // nil: it keeps its size
}

// ready waits until a slot can run a request at once. It reports false when there will be none.
func (p *pool) ready(s Slot) bool {
	if p.waits == nil {
		return s.Ready(p.runner.readyCtx)
	}
	return p.waits.ready(p.runner.readyCtx, s)
}

// readsItself tells whether the executor reads bodies itself, of whatever content type.
func (p *pool) readsItself() bool { return !p.inProcess }

// prepare reads the arguments, or has the executor see whether it can read them.
func (p *pool) prepare(r *request) error {
	if p.inProcess {
		if err := r.readBody(p.runner.decoder); err != nil {
			return err
		}
	}
	return p.executor.Prepare((*Run)(r))
}

// prepared tells whether a request may be acknowledged, or begin. If not, it is seen to.
func (p *pool) prepared(r *request) bool {
	if p.runner.refused(r) {
		return false
	}
	if err := p.prepare(r); err != nil {
		p.runner.unreadable(r, err)
		return false
	}
	return true
}

// resize has so many slots, and as much prefetched as most slots would have.
func (p *pool) resize(slots, most int) {
	p.slots.resize(slots)
	p.backlog.resize(p.prefetch(most), slots)
	p.runner.resized()
}

// load is how many tasks run or wait for a slot.
func (p *pool) load() int { return p.backlog.waiting() + len(p.slots.requests()) }

func (p *pool) closeExecutor(ctx context.Context) {
	if err := p.executor.Close(ctx); err != nil {
		p.runner.log.Warn("Cannot close an executor: "+err.Error(), logline.EventKey, "Cannot close an executor", "executor", p.name, "error", err)
	}
}

// callApart has an executor call a task in a goroutine of its own, which that may end.
func callApart(ctx context.Context, e Executor, entry *tasks.Entry, req *tasks.Request) (any, error) {
	ended := make(chan Outcome, 1)
	go func() {
		o := Outcome{Err: errGoexit}
		defer func() { ended <- o }()
		o.Result, o.Err = e.Call(ctx, entry, req)
	}()
	o := <-ended
	return o.Result, o.Err
}
