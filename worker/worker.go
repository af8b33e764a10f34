package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/tasks"
)

// Worker runs the tasks of one registry for the messages of one consumer.
type Worker struct {
	cfg       Config
	log       taskLog
	observers observers
	decoder   protocol.Decoder
	maker     *publish.Maker // of the messages that are published
	hooks     *hooks
	tasks     *taskConfigs
	limits    *limits
	able      broker.Abilities  // of the consumer
	stored    backend.Abilities // of the store

	intake        *intake
	refusals      *refusals
	schedule      *schedule // what waits for its ETA
	leases        *leases
	runner        *runner
	unstarted     *givenBack
	handover      *handover
	unknown       *unknownTasks
	passing       *passing
	parking       *parking
	counts        counts
	made          time.Time
	revocations   *revocations
	outcomes      *outcomes
	answers       *answers
	errbacks      *errbacks
	chords        *chords
	shadows       *shadows
	deduplication *deduplication

	persister *persister
	settler   *settler
	shutdown  *shutdown

	taskCtx     context.Context //nolint:containedctx // the parent of every handler's context
	cancelTasks context.CancelCauseFunc
	noStart     chan struct{} // closed when nothing that was not accepted is to start any more

	stopping atomic.Bool
	ran      atomic.Bool
}

// New checks the configuration, naming every problem in it, and builds a worker.
// It starts nothing.
func New(cfg Config) (*Worker, error) {
	adaptive := cfg.PrefetchMultiplier == 0
	cfg.setDefaults()
	err := cfg.validate()
	if cfg.Consumer == nil {
		err = errors.Join(errors.New("worker: Consumer is required"), err)
	}
	if err != nil {
		return nil, err
	}
	accept, _ := protocol.NewAccept(cfg.AcceptContent...) // validate has tried both
	revocations, err := newRevocations(&cfg)
	if err != nil {
		return nil, err
	}
	able := broker.AbilitiesOf(cfg.Consumer)
	w := &Worker{
		cfg: cfg, log: taskLog{cfg.Logger}, observers: cfg.Observers, revocations: revocations,
		decoder: protocol.Decoder{
			Accept: accept, Location: cfg.Location,
			Serializer: serializer.Signing(cfg.Signed), Decompress: compression.Decompress, MaxDecompressed: cfg.MaxDecompressed,
		},
		able: able, stored: backend.AbilitiesOf(cfg.Store),
		leases:   newLeases(&cfg, able),
		noStart:  make(chan struct{}),
		shutdown: newShutdown(&cfg),
		made:     time.Now(),
	}
	w.hooks = newHooks(&cfg, w.log)
	if w.maker, err = newMaker(&cfg, w.stored, w.hooks, func(task string) (canvas.Options, bool) { return w.tasks.published(task) }); err != nil {
		return nil, err
	}
	w.persister = &persister{log: w.log, stopping: w.noStart}
	w.outcomes = newOutcomes(&cfg, w.stored, w.maker, &w.decoder)
	w.answers = &answers{outcomes: w.outcomes, log: w.log, hooks: w.hooks}
	w.errbacks = &errbacks{hostname: cfg.Hostname, loader: w.stored.Loader, log: w.log}
	w.chords = &chords{
		outcomes: w.outcomes, backend: publish.BackendOf(w.stored), loader: w.stored.Loader, log: w.log,
		ends: w.stored.ChordEnds, ender: broker.PublisherAbilitiesOf(cfg.Publisher).ChordEnder,
		joinTimeout: cfg.ChordJoinTimeout, retryInterval: cfg.ChordRetryInterval,
		taker:  w.stored.ChordTaker,
		passOn: func(s *settlement) { w.passing.passOnBody(s) }, forgo: func(next *passedOn) { w.passing.forgo(next) },
	}
	w.deduplication = newDeduplication(&cfg, w.outcomes, w.stored.Loader, w.log)
	w.settler = newSettler(w.settlerDeps(), w.persister)
	w.chords.settler, w.deduplication.settler = w.settler, w.settler
	w.unstarted = &givenBack{
		consumer: cfg.Consumer, unclaimer: able.Unclaimer, returner: able.Returner, leases: w.leases, persister: w.persister, log: w.log,
	}
	w.refusals = &refusals{
		decoder: &w.decoder, revocations: w.revocations, stores: cfg.Store != nil, buries: able.Mover != nil,
		answers: w.answers, settler: w.settler, hooks: w.hooks, log: w.log,
	}
	w.shadows = newShadows(w)
	w.runner = newRunner(&cfg, adaptive, w.runnerDeps())
	w.counts.init()
	w.takeIn()
	w.passing = newPassing(w)
	return w, nil
}

// runnerDeps is what the worker does for its runner.
func (w *Worker) runnerDeps() runnerDeps {
	return runnerDeps{
		log: w.log, decoder: &w.decoder, leases: w.leases, noStart: w.noStart,
		serves:  w.cfg.Registry.RunsOn,
		refused: w.refusals.discardLate, unreadable: w.refusals.refuse, finished: w.deduplication.done, unlessStored: w.deduplication.unlessStored, ack: w.settler.ack, mark: w.markStarted, begun: w.begun,
		answers: w.answers, settle: w.settler.settle, passOn: func(s settlement) settlement { return w.passing.passOn(s) }, announce: w.settler.announceNow, cast: w.shadows.cast, unstarted: w.unstarted, handsOver: w.able.Prefetcher != nil,
	}
}

func (w *Worker) settlerDeps() settlerDeps {
	return settlerDeps{
		consumer: w.cfg.Consumer, sender: newSender(w.cfg.Publisher, w.hooks, w.persister),
		concluder: concluderOf(&w.cfg, w.able), mover: w.able.Mover, parker: w.able.Parker,
		store: w.cfg.Store, Backend: w.chords.backend, leases: w.leases, observers: w.observers,
		parked:     func(ctx context.Context, requests []*request) { w.parking.recallRevoked(ctx, requests) },
		unparkable: func(requests []*request) { w.parking.refused(requests) },
		startNext:  func(ctx context.Context, next *passedOn) { w.passing.start(ctx, next) },
		complete:   w.chords.complete, callErrback: w.errbacks.call, succeeded: w.deduplication.successful,
	}
}

// takeIn makes what takes messages in, and the places where they wait for something else than
// a slot.
func (w *Worker) takeIn() {
	cfg := &w.cfg
	in := w.newIntake()
	takeBack := func(d broker.Delivery) bool { return in.receive(d, true) }
	w.parking = &parking{
		parker: w.able.Parker, unparker: w.able.Unparker, recaller: w.able.Recaller, revocations: w.revocations, settler: w.settler, takeBack: takeBack, log: w.log,
	}
	w.schedule = &schedule{
		memory: newTimetable(in.due), parking: w.parking, parkAfter: cfg.ParkAfter, most: cfg.ETATaskLimit,
		waiting: w.runner.waiting, bytes: w.leases.bytes, giveBack: w.unstarted.add, takeBack: takeBack, log: w.log,
	}
	w.parking.keep = w.schedule.keep
	w.limits = &limits{
		disabled: cfg.DisableRateLimits, parks: w.parking.able,
		start: in.start, park: w.parking.park, giveBack: w.unstarted.add,
	}
	w.handover = &handover{
		moves: w.able.Mover != nil, makeWay: in.makeWay, settle: w.settler.settle, giveBack: w.unstarted.add, log: w.log,
	}
	w.handover.kept = newTimetable(w.handover.release)
	w.unknown = &unknownTasks{
		policy: cfg.Unknown, byQueue: cfg.UnknownByQueue, handover: w.handover, fail: w.refusals.failUnknown, bury: w.refusals.bury,
	}
	w.handover.policy = w.unknown.policyOf
	w.tasks = newTaskConfigs(cfg, w.builtins(), w.limits, w.runner)
	w.outcomes.tasks, w.shadows.tasks = w.tasks, w.tasks
	in.tasks, in.schedule, in.limits, in.unknown = w.tasks, w.schedule, w.limits, w.unknown
	w.intake = in
}

func (w *Worker) newIntake() *intake {
	in := &intake{
		consumer: w.cfg.Consumer, decoder: &w.decoder, stores: w.cfg.Store != nil, hostname: w.cfg.Hostname,
		gate:      gate{revocations: w.revocations, maxRedeliveries: w.cfg.MaxRedeliveries, runner: w.runner},
		execution: &execution{outcomes: w.outcomes, settler: w.settler},
		leases:    w.leases, runner: w.runner, refusals: w.refusals, giveBack: w.unstarted.add, again: &w.unstarted.again, unclaims: w.able.Unclaimer != nil,
		hooks: w.hooks, observers: w.observers, log: w.log,
	}
	in.chooser, in.prefetcher, in.plans = w.able.Chooser, w.able.Prefetcher, newClaimPlans(w.runner, w.able.Chooser != nil)
	w.runner.resized = in.resized
	in.large, in.reading = newLarge(in.decodeLarge), newBodyReading(in, w.cfg.Executors)
	in.start = func(r *request) {
		if !r.task.pool.backlog.push(r) {
			w.unstarted.add(r)
		}
	}
	return in
}

// Run claims and runs tasks until ctx is done. Then it stops claiming, gives back
// what has not started, waits for the handlers that run (Celery's warm shutdown)
// and returns nil. A worker runs once.
//
// After Abort, or when the shutdown timeout is over, Run does not wait any longer:
// see there. For a broker or backend that cannot be reached it waits no longer than
// Config.SettleTimeout: what is not settled then stays with the broker, where peers find
// it. It returns an error when the broker cannot be used at all.
func (w *Worker) Run(ctx context.Context) error {
	if w.ran.Swap(true) {
		return errors.New("worker: Run was called before")
	}
	if err := w.runner.open(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	w.hooks.workerInit(w.cfg.Hostname)
	w.hooks.workerProcessInit(w.cfg.Hostname)
	defer w.hooks.workerShutdown(w.cfg.Hostname)
	// Handlers and settling outlive ctx: it only ends claiming.
	base := context.WithoutCancel(ctx)
	w.taskCtx, w.cancelTasks = context.WithCancelCause(base)
	w.outcomes.ctx = w.taskCtx
	defer w.cancelTasks(tasks.ErrShutdown)
	settleCtx, cancelSettle := context.WithCancel(base)
	claimCtx, cancelClaim := context.WithCancel(ctx)
	var bounding sync.WaitGroup
	bounding.Go(func() { w.shutdown.bound(settleCtx, claimCtx, w.persister.done.Load, w.runner.busy, cancelSettle) })
	defer bounding.Wait()
	defer cancelSettle()
	defer cancelClaim()
	stopOnCold := w.shutdown.onCold(cancelClaim)
	w.parking.try(claimCtx)

	var holding, renewing sync.WaitGroup
	holdingCtx, endHolding := context.WithCancel(base)
	stopHolding := holdingCtx.Done()
	w.intake.startApart(holdingCtx, &holding)
	holding.Go(func() { w.schedule.memory.run(stopHolding) })
	holding.Go(func() { w.handover.kept.run(stopHolding) })
	holding.Go(func() { w.schedule.unpark(claimCtx) })
	renewing.Go(func() { w.leases.run(settleCtx) })
	settled := make(chan struct{})
	go func() { defer close(settled); w.settler.run(settleCtx) }()
	w.runner.start(w.taskCtx, settleCtx, &holding, stopHolding)

	w.hooks.workerReady(w.cfg.Hostname)
	err := w.intake.run(claimCtx)
	w.hooks.workerShuttingDown(w.cfg.Hostname, w.shutdown.kind())
	cancelClaim()
	stopOnCold()

	w.stopping.Store(true)
	close(w.noStart)
	w.shadows.stop()
	endHolding()
	w.runner.stop()
	returned := w.giveBackUnstarted(settleCtx, &holding)
	w.awaitHandlers(settleCtx, returned)
	<-returned
	w.unstarted.giveBack(settleCtx, w.unstarted.take())
	w.settler.await(settleCtx)
	w.settler.close()
	<-settled
	w.runner.closeExecutors(settleCtx)
	w.shadows.await()
	w.revocations.keep()
	cancelSettle()
	renewing.Wait()
	return err
}

// awaitHandlers waits for what runs. What it leaves behind goes back to its queues behind
// what has not started, when that is returned.
func (w *Worker) awaitHandlers(ctx context.Context, returned <-chan struct{}) {
	finished := waited(&w.runner.running)
	if w.shutdown.wait(finished, func() int { return len(w.runner.active()) }) {
		return
	}
	w.runner.aborted.Store(true)
	w.cancelTasks(tasks.ErrShutdown)
	select {
	case <-finished:
	case <-time.After(coldGrace):
	}
	<-returned
	w.abandonRunning(ctx)
}

func waited(wg *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	return done
}

// Abort ends Run without waiting for running handlers (Celery's cold shutdown), after it
// has let them finish for Config.SoftShutdownTimeout. Then their contexts are cancelled
// with tasks.ErrShutdown. Messages that are acknowledged late go back to their queues; a
// task that was acknowledged when it started is lost, and its state RETRY, unless its
// handler finishes at once. Abort may be called at any time, from any goroutine, more
// than once.
func (w *Worker) Abort() { w.shutdown.begin() }

// AbortNow is Abort, and does not wait for Config.SoftShutdownTimeout, or any longer for it.
func (w *Worker) AbortNow() { w.shutdown.beginNow() }

// EndsBy tells until when Run has waited, or would have waited, for a broker or backend
// that cannot be reached. It is known when Run has returned: what is closed after it should
// be by then, too, so that the whole of a shutdown keeps within its time.
func (w *Worker) EndsBy() time.Time { return w.shutdown.end() }

// giveBackUnstarted returns everything that was claimed and has not started, in the order
// in which it was claimed, as soon as nobody holds any of it. Nothing starts any more; that
// the messages are back is told by the channel: running handlers need not wait for it.
func (w *Worker) giveBackUnstarted(ctx context.Context, holding *sync.WaitGroup) (done <-chan struct{}) {
	left := slices.Concat(w.intake.close(), w.runner.close(), w.schedule.memory.close(), w.handover.kept.close(), w.limits.close())
	var accepted []*request
	if w.unstarted.takesBack() { // else the slots run them
		accepted = w.runner.takeAccepted()
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		holding.Wait()
		if w.unstarted.takesBack() {
			accepted = append(accepted, w.runner.takeAccepted()...)
		}
		for _, r := range accepted {
			if r.acksLate {
				left = append(left, r)
			}
		}
		w.unstarted.giveBack(ctx, append(left, w.unstarted.take()...))
		// It was claimed before all that, so it goes in front of it.
		w.unstarted.takeBack(ctx, slices.DeleteFunc(accepted, func(r *request) bool { return r.acksLate }))
	}()
	return back
}

// abandonRunning answers for the handlers that a cold shutdown leaves behind.
// Messages that are acknowledged late go back. The others are gone from the queue;
// as in Celery (since 5.5), their state becomes RETRY, which tells clients that the
// task was cut off and that they wait in vain.
func (w *Worker) abandonRunning(ctx context.Context) {
	left := append(w.runner.takeAccepted(), w.runner.abandonRunning()...)
	var back []*request
	for _, r := range left {
		if r.acksLate {
			back = append(back, r)
		} else {
			w.settler.settle(w.answers.cutOff(r))
		}
	}
	w.unstarted.giveBack(ctx, append(back, w.unstarted.take()...))
}
