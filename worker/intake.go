package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// intake claims messages and sends each where it belongs: to a slot, to a place where it waits,
// or away. It holds none itself, but for those that take long to decode.
type intake struct {
	consumer  broker.Consumer
	decoder   *protocol.Decoder
	tasks     *taskConfigs
	stores    bool       // there is a result backend
	execution *execution // what tasks can have done while they run
	hostname  string

	gate   gate
	leases *leases
	runner *runner // says for how many there is room
	large  *large
	pause  claimPause

	start    func(*request) // where requests go that are to run now
	schedule *schedule
	limits   *limits
	unknown  *unknownTasks
	refusals *refusals
	giveBack func(*request)
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
	for stray := 0; ; {
		limit := in.want(stray)
		if limit == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-in.runner.room:
			}
			continue
		}
		claimCtx, cancel := in.pause.over(ctx)
		deliveries, err := in.consumer.Claim(claimCtx, limit)
		interrupted := claimCtx.Err() != nil
		cancel()
		waiting := 0
		for _, d := range deliveries {
			if !in.receive(d, false) {
				waiting++
			}
		}
		stray = 0
		if waiting == limit {
			stray = limit
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !interrupted:
			return err
		}
	}
}

// strayMost is how many messages are claimed at a time, at most, that take no slot.
const strayMost = 512

// want is how many messages to claim now. stray is how many the last claim brought if
// it was full and none of them is to be run now: they are parked, or others shall have
// them. Twice as many are then claimed, or it would take long to get behind them. Should
// these be tasks to run after all, what is above the prefetch limit goes back.
func (in *intake) want(stray int) int {
	if in.unknown.handover.full() {
		return 0
	}
	limit := in.runner.want()
	if limit == 0 {
		return 0
	}
	if !in.unclaims {
		return limit
	}
	return max(limit, min(2*stray, strayMost))
}

// receive takes one delivery. One that comes back from the broker's keeping was announced
// as received before. It tells whether it is to run now, as far as is known.
func (in *intake) receive(d broker.Delivery, unparked bool) bool {
	r := &request{execution: in.execution, tag: d.Tag, content: d.Content, seq: in.seq.Add(1), redeliveries: d.Redeliveries, unparked: unparked}
	r.Queue, r.Hostname, r.Log, r.Execution = d.Queue, in.hostname, in.log.Logger, r
	r.term.Store(d.Term)
	if !d.Claimed.IsZero() {
		r.leased.Store(d.Claimed.UnixNano())
	}
	in.leases.add(r)
	if !isLarge(r.content) {
		return in.decode(r, false)
	}
	in.runner.goroutines().backlog.reserve(1)
	if !in.large.add(r) {
		in.giveBack(r)
	}
	return true
}

// decode reads the headers of a request's message and sends it where it belongs; a body that
// takes long is read at once, while nobody waits for it. It tells whether it is to run now.
func (in *intake) decode(r *request, long bool) bool {
	task, err := read(in.decoder, r.content)
	if r.Task = task; task != nil {
		r.task = in.tasks.of(task.Name)
	}
	if r.task != nil && err == nil && long {
		err = r.task.pool.executor.Prepare((*Run)(r))
	}
	if r.task != nil && r.task.pool.readsItself() && errors.As(err, new(*protocol.ContentDisallowedError)) {
		err = nil
	}
	switch {
	case err != nil && (task == nil || task.ID == "" || r.task != nil):
		in.refusals.refuse(r, err)
		return false
	case r.task != nil:
		r.apply(in.stores)
	} // else the task is unknown, whatever else is wrong: Celery looks it up first
	v := in.gate.decide(r, time.Now())
	if !r.unparked {
		in.announce(r, v)
	}
	in.pass(r, v)
	if r.task != nil {
		r.task.pool.autoscaler.note()
	}
	return v == run
}

// announce tells of a request that was received, unless others shall have it.
func (in *intake) announce(r *request, v verdict) {
	if v != unknown && v != poisoned && v != crowded {
		in.log.received(r)
	}
	if v == run || v == hold || v == limit {
		in.hooks.taskReceived(r)
		in.observers.tell(r.event(Received))
	}
}

// due is called when a request has waited for long enough.
func (in *intake) due(r *request) { in.pass(r, in.gate.decide(r, time.Now())) }

// reconsider takes a request for which there was no room when it came. It reports false if
// there still is none.
func (in *intake) reconsider(r *request) bool {
	r.due = time.Time{}
	v := in.gate.decide(r, time.Now())
	if v == crowded {
		return false
	}
	in.announce(r, v)
	in.pass(r, v)
	return true
}

// pass carries out the gate's verdict. Once the worker is shutting down, the
// request is given back with all others that have not started.
func (in *intake) pass(r *request, v verdict) {
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
		in.unknown.handover.take(r, true)
	}
}

// decodeLarge decodes a request that receive has counted.
func (in *intake) decodeLarge(r *request) {
	in.decode(r, true)
	in.runner.goroutines().backlog.reserve(-1)
}

// makeWay claims nothing for a moment, so that others get what goes back.
func (in *intake) makeWay() {
	in.pause.extend(headStart, headStartMost)
	signal(in.runner.room)
}
