package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/protocol"
)

// runner runs requests. It has a pool for every executor.
type runner struct {
	runnerDeps

	pools   []*pool        // that of the goroutines is the first
	main    *pool          // the one that operators mean (Config.Pool)
	room    chan struct{}  // capacity 1: claiming is worthwhile again
	resized func()         // is told that a pool has more slots, or fewer
	running sync.WaitGroup // the slots that count
	aborted atomic.Bool    // handlers are not waited for any more

	taskCtx   context.Context //nolint:containedctx // the parent of every handler's context
	settleCtx context.Context //nolint:containedctx // that of what is written
	readyCtx  context.Context //nolint:containedctx // done when slots need not get ready any more
	unready   context.CancelFunc
}

// runnerDeps is what a runner needs of others.
type runnerDeps struct {
	log     taskLog
	decoder *protocol.Decoder // of bodies
	leases  *leases
	noStart <-chan struct{} // closed when nothing that was not accepted is to start any more

	refused    func(r *request) bool       // settles a request that expired or was revoked while it waited
	unreadable func(r *request, err error) // refuses its message
	serves     func(executor string) bool  // there are tasks for it
	finished   func(r *request) bool       // settles a request whose task is known to have succeeded
	// unlessStored is what came of a request, if its process was lost after the success was stored.
	unlessStored func(r *request, o Outcome) Outcome
	ack          func(ctx context.Context, requests []*request, tags []string) (known bool)
	mark         func(ctx context.Context, r *request)          // tells the broker, where that counts, that its handler is about to start
	begun        func(ctx context.Context, r *request, pid int) // tells that its handler starts

	*answers
	settle   func(settlement)
	passOn   func(settlement) settlement                        // takes on here what would be published, if possible, and returns the rest
	announce func(settlement) settlement                        // announces its end now
	cast     func(r *request, o Outcome, runtime time.Duration) // has the shadow of its task run

	unstarted *givenBack
	handsOver bool // the broker hands messages over before they are claimed
}

func newRunner(cfg *Config, adaptive bool, deps runnerDeps) *runner {
	rn := &runner{runnerDeps: deps, room: make(chan struct{}, 1), resized: func() {}}
	rn.readyCtx, rn.unready = context.WithCancel(context.Background())
	rn.add("", ExecutorConfig{Executor: goroutines{}, InProcess: true, Concurrency: cfg.Concurrency, Autoscale: cfg.Autoscale}, cfg.prefetch, adaptive)
	for _, name := range slices.Sorted(maps.Keys(cfg.Executors)) {
		rn.add(name, cfg.Executors[name], cfg.prefetch, adaptive)
	}
	rn.main = rn.pool(cfg.Pool)
	return rn
}

func (rn *runner) add(name string, cfg ExecutorConfig, prefetch func(slots int) int, adaptive bool) {
	if cfg.Prefetch > 0 {
		prefetch = func(int) int { return cfg.Prefetch }
	}
	onCall := adaptive && rn.handsOver
	adaptive = adaptive && rn.unstarted.unclaims()
	p := &pool{
		name: name, index: len(rn.pools), executor: cfg.Executor, runner: rn, tasks: cfg.Tasks, prefetch: prefetch, concurrency: cfg.Concurrency, restraints: cfg.Restraints,
		inProcess: cfg.InProcess, acksLate: cfg.AcksLate,
	}
	if _, ok := cfg.Executor.(ProcessReporter); ok {
		p.waits = &waits{}
	}
	p.backlog = newBacklog(prefetch(max(cfg.Concurrency, cfg.Autoscale.Max)), cfg.Concurrency, adaptive, rn.room)
	p.backlog.onCall.wanted = onCall && !adaptive
	p.backlog.returns = rn.unstarted.takesBack()
	if rn.unstarted.takesBack() {
		p.backlog.acceptAhead, p.backlog.counts = acceptedAhead, !adaptive
		if p.readsItself() {
			p.backlog.acceptFor = acceptedFor
		}
	}
	p.slots = newSlots(p)
	if cfg.Autoscale.Max > 0 {
		p.autoscaler = newAutoscaler(p, cfg.Autoscale)
	}
	rn.pools = append(rn.pools, p)
}

// pool returns the pool of an executor; nil if there is none of this name.
func (rn *runner) pool(executor string) *pool {
	for _, p := range rn.pools {
		if p.name == executor {
			return p
		}
	}
	return nil
}

// goroutines is the pool of Go handlers.
func (rn *runner) goroutines() *pool { return rn.pools[0] }

// open starts the executors.
func (rn *runner) open(ctx context.Context) error {
	for i, p := range rn.pools {
		if err := p.executor.Start(ctx); err != nil {
			for _, opened := range rn.pools[:i] {
				opened.closeExecutor(ctx)
			}
			return fmt.Errorf("worker: executor %q: %w", p.name, err)
		}
	}
	return nil
}

// start starts the slots and, in a group, what feeds them: that ends when the runner is
// closed and stop is.
func (rn *runner) start(taskCtx, settleCtx context.Context, feeding *sync.WaitGroup, stop <-chan struct{}) {
	rn.taskCtx, rn.settleCtx = taskCtx, settleCtx
	for _, p := range rn.pools {
		feeding.Go(func() { p.acknowledgeEarly(settleCtx) })
		feeding.Go(func() { p.returnSurplus(settleCtx, stop) })
		if p.autoscaler != nil {
			feeding.Go(func() { p.autoscaler.run(stop) })
		}
		p.slots.resize(p.concurrency)
	}
}

// rooms tells what each of the pools can take.
func (rn *runner) rooms() []room {
	rooms := make([]room, len(rn.pools))
	for i, p := range rn.pools {
		rooms[i].want, rooms[i].free = p.backlog.want()
		if len(rn.pools) > 1 && !rn.serves(p.name) {
			rooms[i] = room{absent: true}
		}
	}
	return rooms
}

// prefetch is how many messages the broker is to hand over for the pools together.
func (rn *runner) prefetch() (n int) {
	for _, p := range rn.pools {
		if len(rn.pools) == 1 || rn.serves(p.name) {
			n += p.backlog.handed()
		}
	}
	return n
}

// crowded tells whether a request is for an executor that has its share already, while there
// are others.
func (rn *runner) crowded(r *request) bool {
	return len(rn.pools) > 1 && r.task.pool.backlog.full()
}

// stop keeps slots from being started, and from waiting until they can run something.
func (rn *runner) stop() {
	for _, p := range rn.pools {
		p.slots.close()
	}
	rn.unready()
}

// close returns the requests that were not accepted. Slots end when there is nothing that
// was accepted any more.
func (rn *runner) close() (left []*request) {
	for _, p := range rn.pools {
		left = append(left, p.backlog.close()...)
	}
	return left
}

// takeAccepted, after close, returns what was accepted and will not be run any more. What is
// being accepted meanwhile is returned by another call.
func (rn *runner) takeAccepted() (accepted []*request) {
	for _, p := range rn.pools {
		accepted = append(accepted, p.backlog.abandon()...)
	}
	return accepted
}

// closeExecutors is called when no slot is waited for any more.
func (rn *runner) closeExecutors(ctx context.Context) {
	for _, p := range rn.pools {
		p.closeExecutor(ctx)
	}
}

// waiting is the number of requests that wait for a slot.
func (rn *runner) waiting() (n int) {
	for _, p := range rn.pools {
		n += p.backlog.waiting()
	}
	return n
}

// list returns the requests that wait for a slot, or have one and have not begun.
func (rn *runner) list() (requests []*request) {
	for _, p := range rn.pools {
		for _, r := range p.slots.requests() {
			if r.phase.Load() == waiting {
				requests = append(requests, r)
			}
		}
		requests = append(requests, p.backlog.list()...)
	}
	return requests
}

// active returns the requests that have begun, have not been settled, and are waited for.
func (rn *runner) active() (requests []*request) {
	for _, p := range rn.pools {
		requests = append(requests, p.slots.active()...)
	}
	return requests
}

// busy tells whether any handler that is waited for runs, and does not itself wait for
// broker or backend.
func (rn *runner) busy() bool {
	return slices.ContainsFunc(rn.active(), func(r *request) bool { return r.phase.Load() == running && r.stuck.Load() == 0 })
}

// abandonRunning lets go of all handlers, and returns their requests, those included that have
// not begun.
func (rn *runner) abandonRunning() (left []*request) {
	for _, p := range rn.pools {
		for _, s := range p.slots.busy() {
			r := s.current.Load()
			if r == nil || !r.finish(abandoned) && !r.phase.CompareAndSwap(waiting, abandoned) {
				continue // it has just returned
			}
			s.place.Stop((*Run)(r), Stop{Strength: StopKill})
			p.slots.replace(s)
			left = append(left, r)
		}
	}
	return left
}

// abandoned is how many handlers still run although nobody waits for them, and how many
// there have been.
func (rn *runner) abandoned() (now, total int64) {
	for _, p := range rn.pools {
		now += p.slots.abandoned.Load()
		total += p.slots.abandonedTotal.Load()
	}
	return now, total
}
