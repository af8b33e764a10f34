package worker

import (
	"context"
	"time"

	"github.com/apium/apium/broker"
)

// consume claims messages while there is room for them, until ctx is done. It is
// the only caller of Claim.
func (w *Worker) consume(ctx context.Context) error {
	w.consuming.Store(true)
	defer w.consuming.Store(false)
	for stray := 0; ; {
		limit := w.want(stray)
		if limit == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-w.runner.room:
			}
			continue
		}
		claimCtx, cancel := w.claimPause.over(ctx)
		deliveries, err := w.cfg.Consumer.Claim(claimCtx, limit)
		interrupted := claimCtx.Err() != nil
		cancel()
		waiting := 0
		for _, d := range deliveries {
			if !w.receive(d, false) {
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
func (w *Worker) want(stray int) int {
	if w.handover.full() {
		return 0
	}
	limit := w.runner.want()
	if limit == 0 {
		return 0
	}
	return max(limit, min(2*stray, strayMost))
}

// receive takes one delivery. One that comes back from the broker's keeping was announced
// as received before. It tells whether it is to run now, as far as is known.
func (w *Worker) receive(d broker.Delivery, unparked bool) bool {
	r := &request{worker: w, tag: d.Tag, content: d.Content, seq: w.seq.Add(1), redeliveries: d.Redeliveries, unparked: unparked}
	r.Queue, r.Hostname, r.Log, r.Execution = d.Queue, w.cfg.Hostname, w.cfg.Logger, r
	r.term.Store(d.Term)
	if !d.Claimed.IsZero() {
		r.leased.Store(d.Claimed.UnixNano())
	}
	w.leases.add(r)
	if !isLarge(r.content) {
		return w.decode(r)
	}
	w.runner.goroutines().backlog.reserve(1)
	if !w.large.add(r) {
		w.unstarted.add(r)
	}
	return true
}

// decode reads a request's message and sends it where it belongs. It tells whether it is to
// run now.
func (w *Worker) decode(r *request) bool {
	task, err := read(&w.decoder, r.content)
	if r.Task = task; task != nil {
		r.task = w.tasks.of(task.Name)
	}
	switch {
	case err != nil && (task == nil || task.ID == "" || r.task != nil):
		w.refuse(r, err)
		return false
	case r.task != nil:
		w.apply(r)
	} // else the task is unknown, whatever else is wrong: Celery looks it up first
	v := w.gate(r, time.Now())
	if !r.unparked {
		w.announceReceived(r, v)
	}
	w.pass(r, v)
	if r.task != nil {
		r.task.pool.autoscaler.note()
	}
	return v == run
}

// announceReceived tells of a request, unless others shall have it.
func (w *Worker) announceReceived(r *request, v verdict) {
	if v != unknown && v != poisoned && v != crowded {
		w.log.received(r)
	}
	if v == run || v == hold || v == limit {
		w.hooks.taskReceived(r)
		w.observers.tell(r.event(Received))
	}
}

// due is called when a request has waited for long enough.
func (w *Worker) due(r *request) { w.pass(r, w.gate(r, time.Now())) }

// reconsider takes a request for which there was no room when it came. It reports false if
// there still is none.
func (w *Worker) reconsider(r *request) bool {
	r.due = time.Time{}
	v := w.gate(r, time.Now())
	if v == crowded {
		return false
	}
	w.announceReceived(r, v)
	w.pass(r, v)
	return true
}

// pass carries out the gate's verdict. Once the worker is shutting down, the
// request is given back with all others that have not started.
func (w *Worker) pass(r *request, v verdict) {
	switch v {
	case run:
		w.enqueue(r)
	case hold:
		r.due = r.ETA
		w.schedule.wait(r)
	case limit:
		w.limits.wait(r)
	case expired, revoked:
		w.discard(r, v == expired)
	case unknown:
		w.unknown.answer(r)
	case poisoned:
		w.buryPoison(r)
	case crowded:
		w.handover.take(r, true)
	}
}

// enqueue has a request run when a slot is free.
func (w *Worker) enqueue(r *request) {
	if !r.task.pool.backlog.push(r) {
		w.unstarted.add(r)
	}
}
