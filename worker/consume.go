package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// consume claims messages while there is room for them, until ctx is done. It is
// the only caller of Claim.
func (w *Worker) consume(ctx context.Context) error {
	w.consuming.Store(true)
	defer w.consuming.Store(false)
	for {
		limit := w.backlog.want()
		if limit == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-w.backlog.room:
			}
			continue
		}
		deliveries, err := w.cfg.Consumer.Claim(ctx, limit)
		for _, d := range deliveries {
			w.receive(d, false)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// receive decodes one delivery and sends it where it belongs. One that comes back from
// the broker's keeping was announced as received before.
func (w *Worker) receive(d broker.Delivery, parked bool) {
	r := &request{worker: w, tag: d.Tag, raw: d.Raw, seq: w.seq.Add(1), redeliveries: d.Redeliveries}
	r.Queue, r.Hostname, r.Execution = d.Queue, w.cfg.Hostname, r
	w.leases.add(r)

	task, err := w.decoder.Decode(d.Raw)
	if r.Task = task; task != nil {
		r.task = w.task(task.Name)
	}
	switch {
	case err != nil && (task == nil || task.ID == "" || r.task != nil):
		w.refuse(r, err)
		return
	case r.task != nil:
		w.apply(r)
	} // else the task is unknown, whatever else is wrong: Celery looks it up first
	v := w.gate(r, time.Now())
	if v != unknown && v != poisoned && !parked {
		w.logReceived(r)
	}
	if (v == run || v == hold || v == limit) && !parked {
		w.hooks.taskReceived(r)
		w.observe(r.event(Received))
	}
	w.pass(r, v)
	w.autoscaler.note()
}

// due is called when a request has waited for long enough.
func (w *Worker) due(r *request) { w.pass(r, w.gate(r, time.Now())) }

// pass carries out the gate's verdict. Once the worker is shutting down, the
// request is given back with all others that have not started.
func (w *Worker) pass(r *request, v verdict) {
	accepted := true
	switch v {
	case run:
		accepted = w.backlog.push(r)
	case hold:
		r.due = r.ETA
		w.wait(r)
	case limit:
		w.limit(r)
	case expired, revoked:
		w.discard(r, v == expired)
	case unknown:
		w.rejectUnknown(r)
	case poisoned:
		w.bury(r, fmt.Sprintf("given back %d times because a worker died", r.redeliveries))
	case leave:
		w.settle(settlement{req: r, fate: requeue, end: &outcome{kind: Left}})
	}
	if !accepted {
		w.unstarted.add(r)
	}
}

// wait keeps a request until it is due: the broker does if that is far ahead, or if
// many wait already.
func (w *Worker) wait(r *request) {
	if w.canPark() && (time.Until(r.due) > w.cfg.ParkAfter || w.schedule.len() >= w.cfg.ETATaskLimit) && !r.leaving {
		w.settle(settlement{req: r, fate: park})
		return
	}
	if !w.schedule.add(r) {
		w.unstarted.add(r)
	}
}

// refuse drops a message that is no task this worker can read, as Celery does: no
// result is stored. What Celery acknowledges or rejects, though, is kept among the dead
// letters.
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
	w.logRefused(r, reason, err)
	w.hooks.taskRejected(r.raw, err)
	s := settlement{req: r, fate: late, end: &outcome{kind: Refused, reason: reason}}
	if _, ok := w.cfg.Consumer.(broker.Mover); ok {
		s.fate, s.reason = burial, reason+": "+err.Error()
	}
	w.settle(s)
}

// discard settles a task that has expired or was revoked.
func (w *Worker) discard(r *request, expired bool) {
	w.logDiscarded(r)
	reason := "revoked"
	if expired {
		reason = "expired"
		w.revoked.add(time.Now(), r.ID)
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
