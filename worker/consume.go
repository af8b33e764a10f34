package worker

import (
	"context"
	"errors"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
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
	if w.kept.len() >= keptMost {
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
	task, err := w.read(r.content)
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
	if v != unknown && v != poisoned && !r.unparked {
		w.log.received(r)
	}
	if (v == run || v == hold || v == limit) && !r.unparked {
		w.hooks.taskReceived(r)
		w.observers.tell(r.event(Received))
	}
	w.pass(r, v)
	if r.task != nil {
		r.task.pool.autoscaler.note()
	}
	return v == run
}

// due is called when a request has waited for long enough.
func (w *Worker) due(r *request) { w.pass(r, w.gate(r, time.Now())) }

// pass carries out the gate's verdict. Once the worker is shutting down, the
// request is given back with all others that have not started.
func (w *Worker) pass(r *request, v verdict) {
	switch v {
	case run:
		w.enqueue(r)
	case hold:
		r.due = r.ETA
		w.wait(r)
	case limit:
		w.limits.wait(r)
	case expired, revoked:
		w.discard(r, v == expired)
	case unknown:
		w.rejectUnknown(r)
	case poisoned:
		w.buryPoison(r)
	case handOn:
		w.claimPause.extend(headStart, headStartMost)
		w.handOn(r)
		signal(w.runner.room)
	}
}

// enqueue has a request run when a slot is free.
func (w *Worker) enqueue(r *request) {
	if !r.task.pool.backlog.push(r) {
		w.unstarted.add(r)
	}
}

// park has the broker keep a request until it is due.
func (w *Worker) park(r *request) { w.settle(settlement{req: r, fate: park}) }

// wait keeps a request until it is due: the broker does if that is far ahead, or if
// many wait already.
func (w *Worker) wait(r *request) {
	if w.parker != nil && (time.Until(r.due) > w.cfg.ParkAfter || w.schedule.len() >= w.cfg.ETATaskLimit) {
		w.park(r)
		return
	}
	if !w.schedule.add(r) {
		w.unstarted.add(r)
	}
}

// refuse drops a message that is no task this worker can run. What Celery acknowledges or
// rejects is kept among the dead letters, and where the message tells which task it was,
// that fails, so that nobody waits for it; replayed, it may still succeed.
func (w *Worker) refuse(r *request, err error) {
	reason := ReasonUndecodable
	var disallowed *protocol.ContentDisallowedError
	var invalid *protocol.InvalidTaskError
	switch {
	case errors.As(err, &disallowed):
		reason = ReasonContentType
	case errors.As(err, &invalid):
		reason = ReasonInvalid
	case errors.Is(err, protocol.ErrUnknownMessage):
		reason = ReasonUnknown
	}
	w.log.refused(r, reason, err)
	w.hooks.taskRejected(r.content.Text(), err)
	s := settlement{req: r, end: &outcome{kind: Refused, reason: reason}}
	if r.task != nil {
		w.apply(r)
		s = w.failure(r, refusal(err), 0)
		s.rejected, s.end.refused, s.end.reason = notRejected, true, reason
	}
	s.fate = late
	if w.mover != nil {
		s.fate, s.reason = burial, reason+": "+err.Error()
	}
	w.settle(s)
}

// refusal is the exception that Celery meets and logs for a message it cannot run.
func refusal(err error) *protocol.Exception {
	module, class := "kombu.exceptions", "DecodeError"
	var disallowed *protocol.ContentDisallowedError
	var invalid *protocol.InvalidTaskError
	switch {
	case errors.As(err, &disallowed):
		class = "ContentDisallowed"
	case errors.As(err, &invalid) && invalid.Class != "":
		module, class = "builtins", invalid.Class
	case invalid != nil:
		module, class = "celery.exceptions", "InvalidTaskError"
	}
	return newException(module, class, err.Error())
}

// discard settles a task that has expired or was revoked.
func (w *Worker) discard(r *request, expired bool) {
	w.log.discarded(r)
	reason := "revoked"
	if expired {
		reason = "expired"
		w.revocations.note(r.ID)
	}
	w.settle(w.revocation(r, reason, false))
	w.hooks.taskRevoked(r, false, expired)
}

// revocation is the settlement of a task that is REVOKED.
func (w *Worker) revocation(r *request, reason string, terminated bool) settlement {
	exc := newException("celery.exceptions", "TaskRevokedError", reason)
	s := settlement{
		req: r, fate: late, record: w.record(r, revokedRecord(exc), r.storeErrors),
		end: &outcome{kind: Revoked, exception: exc, terminated: terminated, expired: reason == "expired", returned: time.Now()},
	}
	if signum := r.terminated.Load(); terminated && signum != nil {
		s.end.signum = *signum
	}
	if terminated && !r.acksLate {
		s.fate = none // it was acknowledged when it started
	}
	w.countPart(&s, protocol.Revoked, exc.Append(nil))
	return s
}
