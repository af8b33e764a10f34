package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// intake claims messages and sends each where it belongs: to a slot, to a place where it waits,
// or away. It holds none itself, but for those that take long to decode.
type intake struct {
	consumer   broker.Consumer
	chooser    broker.Chooser    // nil: no queue can be left alone
	prefetcher broker.Prefetcher // nil: messages come when they are claimed
	prefetch   int               // what it was told last; run's alone
	decoder    *protocol.Decoder
	tasks      *taskConfigs
	stores     bool       // there is a result backend
	execution  *execution // what tasks can have done while they run
	hostname   string

	gate    gate
	leases  *leases
	runner  *runner // says for how many there is room
	large   *large
	reading *bodyReading // nil: no executor reads what cannot be read here
	pause   claimPause
	plans   *claimPlans
	aside   aside // what was claimed and there is no room for; of run alone

	start    func(*request) // where requests go that are to run now
	schedule *schedule
	limits   *limits
	unknown  *unknownTasks
	refusals *refusals
	giveBack func(*request)
	again    *comesAgain
	unclaims bool // what is claimed in vain can go back as it was

	hooks     *hooks
	observers observers
	log       taskLog

	seq       atomic.Uint64 // order of claiming
	consuming atomic.Bool
}

// run claims messages while there is room for them, until ctx is done. It is
// the only caller of Claim.
func (in *intake) run(ctx context.Context) error {
	in.consuming.Store(true)
	defer in.consuming.Store(false)
	defer in.returnAside(ctx)
	defer in.setPrefetch(0)
	for stray := 0; ; {
		in.tendAside(ctx)
		in.setPrefetch(in.runner.prefetch())
		plan := in.plan(stray)
		if plan.limit == 0 {
			if !in.awaitRoom(ctx, plan) {
				return nil
			}
			continue
		}
		claimCtx, cancel := in.pause.over(ctx)
		deliveries, err := in.claim(claimCtx, plan)
		interrupted := claimCtx.Err() != nil
		cancel()
		waiting := 0
		for _, d := range deliveries {
			if !in.receive(d, false) {
				waiting++
			}
		}
		stray = 0
		if waiting == plan.limit {
			stray = plan.limit
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !interrupted:
			return err
		}
	}
}

// setPrefetch says how many messages the worker means to hold, if that has changed.
func (in *intake) setPrefetch(n int) {
	if in.prefetcher != nil && n != in.prefetch {
		in.prefetch = n
		in.prefetcher.SetPrefetch(n)
	}
}

// claim claims what is planned. It ends when the plan is out of date.
func (in *intake) claim(ctx context.Context, plan claimPlan) ([]broker.Delivery, error) {
	if plan.until.IsZero() && plan.without == nil {
		return in.consumer.Claim(ctx, plan.limit)
	}
	ctx, cancel := context.WithDeadline(ctx, plan.until)
	defer cancel()
	go func() {
		select {
		case <-in.runner.room:
			cancel()
		case <-ctx.Done():
		}
	}()
	var deliveries []broker.Delivery
	var err error
	if plan.without == nil {
		deliveries, err = in.consumer.Claim(ctx, plan.limit)
	} else {
		deliveries, err = in.chooser.ClaimWithout(ctx, plan.limit, plan.without)
	}
	if ctx.Err() != nil {
		err = nil
	}
	return deliveries, err
}

// awaitRoom waits until something may be claimed. It reports false when ctx is done.
func (in *intake) awaitRoom(ctx context.Context, plan claimPlan) bool {
	var again <-chan time.Time
	if !plan.until.IsZero() {
		timer := time.NewTimer(time.Until(plan.until))
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-in.runner.room:
	case <-again:
	}
	return true
}

// strayMost is how many messages are claimed at a time, at most, that take no slot.
const strayMost = 512

// plan says what to claim now. stray is how many messages the last claim brought if it was full
// and none of them is to be run now: they are parked, or others shall have them. Twice as many
// are then claimed, or it would take long to get behind them. Should these be tasks to run
// after all, what is above the prefetch limit goes back.
func (in *intake) plan(stray int) claimPlan {
	if in.unknown.handover.full() {
		return claimPlan{}
	}
	plan := in.plans.plan(time.Now(), in.aside.n)
	if plan.limit > 0 && in.unclaims {
		plan.limit = max(plan.limit, min(2*stray, strayMost))
	}
	if in.aside.n > 0 && (plan.until.IsZero() || in.aside.until.Before(plan.until)) {
		plan.until = in.aside.until
	}
	return plan
}

// receive takes one delivery. One that comes back from the broker's keeping was announced
// as received before. It tells whether it is to run now, as far as is known.
func (in *intake) receive(d broker.Delivery, unparked bool) bool {
	r := in.request(d)
	r.unparked = unparked || d.Unparked
	r.term.Store(d.Term)
	if !d.Claimed.IsZero() {
		r.leased.Store(d.Claimed.UnixNano())
	}
	r.phase.Store(unread)
	in.leases.add(r)
	if !isLarge(r.content) {
		return in.decode(r, false)
	}
	in.decodeApart(r)
	return true
}

// request makes a request of a delivery.
func (in *intake) request(d broker.Delivery) *request {
	r := &request{execution: in.execution, tag: d.Tag, content: d.Content, seq: in.seq.Add(1), redeliveries: d.Redeliveries}
	r.Queue, r.Hostname, r.Log, r.Execution = d.Queue, in.hostname, in.log.Logger, r
	return r
}

// decodeApart has a request decoded that takes long.
func (in *intake) decodeApart(r *request) { in.waits(in.large, r) }

func (in *intake) waits(to *large, r *request) {
	in.runner.goroutines().backlog.reserve(1)
	if !to.add(r) {
		in.giveBack(r)
	}
}

// decode reads the headers of a request's message and sends it where it belongs; a body that
// takes long is read at once, while nobody waits for it. It tells whether it is to run now.
func (in *intake) decode(r *request, long bool) bool {
	into := &r.read
	if r.Task != nil { // it is read again, and others may look at what it was
		into = new(protocol.Task)
	}
	task, err := read(in.decoder, r.content, into)
	if in.reading != nil && needsTelling(task, err) {
		in.waits(in.reading.large, r)
		return true
	}
	return in.decoded(r, task, err, long)
}

// decoded sends a request whose headers were read where it belongs.
func (in *intake) decoded(r *request, task *protocol.Task, err error, long bool) bool {
	if r.Task = task; task != nil {
		r.task, r.left = in.tasks.forMessage(task)
	}
	if r.task != nil && r.task.inGo != nil { // its body says which executor is to run it
		if !long {
			in.decodeApart(r)
			return true
		}
		_ = r.readBody(in.decoder) // an executor that reads it itself may be able to
		r.task = r.task.forCalled(in.tasks, task.Kwargs)
	}
	if r.task != nil && err == nil && long {
		err = r.task.pool.prepare(r)
	}
	if r.task != nil && r.task.pool.readsItself() && task.ID != "" && protocol.OfBody(err) {
		err = nil // the executor decides, and refuses
	}
	if r.task != nil && !long && !r.unparked {
		in.plans.note(r.Queue, r.task.pool)
	}
	r.phase.Store(waiting)
	switch {
	case err != nil && (task == nil || task.ID == "" || r.task != nil):
		in.refusals.refuse(r, err)
		return false
	case r.task != nil:
		r.apply(in.stores)
	} // else the task is unknown, whatever else is wrong: Celery looks it up first
	v := in.gate.decide(r, time.Now())
	switch {
	case v == crowded && long:
		v = run // to read it again would take as long again
	case v == run && !long && !r.unparked && in.aside.has(r.task.pool):
		v = crowded // it is not before those
	}
	if !r.unparked {
		in.announce(r, v)
	}
	in.pass(r, v)
	if r.task != nil {
		r.task.pool.autoscaler.note()
	}
	return v == run || v == crowded
}

// announce tells of a request that was received, unless others shall have it.
func (in *intake) announce(r *request, v verdict) {
	if v == unknown || v == poisoned || v == crowded || in.again.take(r) {
		return
	}
	r.announced = true
	in.log.received(r)
	if v == run || v == hold || v == limit {
		in.hooks.taskReceived(r)
		in.observers.tell(r.event(Received))
	}
}

// due is called when a request has waited for long enough.
func (in *intake) due(r *request) { in.pass(r, in.gate.decide(r, time.Now())) }

// pass carries out the gate's verdict. Once the worker is shutting down, the
// request is given back with all others that have not started.
func (in *intake) pass(r *request, v verdict) {
	if r.Retries > 0 && (v == run || v == expired || v == revoked) && in.followsTooSoon(r) {
		return
	}
	switch v {
	case run:
		in.start(r)
	case hold:
		r.due = r.ETA
		in.schedule.wait(r)
	case limit:
		in.limits.wait(r)
	case expired, revoked:
		in.refusals.discard(r, v == expired)
	case unknown:
		in.unknown.answer(r)
	case poisoned:
		in.refusals.buryPoison(r)
	case crowded:
		in.aside.add(r, time.Now())
	}
}

// decodeLarge decodes a request that receive has counted.
func (in *intake) decodeLarge(_ context.Context, r *request) {
	in.decode(r, true)
	in.runner.goroutines().backlog.reserve(-1)
}

// makeWay claims nothing for a moment, so that others get what goes back.
func (in *intake) makeWay() {
	in.pause.extend(headStart, headStartMost)
	signal(in.runner.room)
}

// resized has a broker that hands messages over ahead told at once that there are more slots, or fewer.
func (in *intake) resized() {
	if in.prefetcher != nil {
		in.pause.again()
		signal(in.runner.room)
	}
}

// startApart starts what decodes apart from the claim loop.
func (in *intake) startApart(ctx context.Context, holding *sync.WaitGroup) {
	holding.Go(func() { in.large.run(ctx) })
	if in.reading != nil {
		holding.Go(func() { in.reading.run(ctx) })
	}
}

// close returns the requests that were not decoded.
func (in *intake) close() []*request {
	left := in.large.close()
	if in.reading != nil {
		left = append(left, in.reading.close()...)
	}
	return left
}
