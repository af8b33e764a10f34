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
			w.receive(d)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// receive decodes one delivery and sends it where it belongs.
func (w *Worker) receive(d broker.Delivery) {
	w.seq++
	r := &request{tag: d.Tag, raw: d.Raw, seq: w.seq}
	r.Queue, r.Hostname = d.Queue, w.cfg.Hostname
	w.leases.add(r)

	task, err := w.decoder.Decode(d.Raw)
	if r.Task = task; task != nil {
		r.entry, _ = w.cfg.Registry.Lookup(task.Name)
	}
	switch {
	case err != nil && (task == nil || task.ID == "" || r.entry != nil):
		w.refuse(r, err)
		return
	case r.entry != nil:
		w.cfg.apply(r)
	} // else the task is unknown, whatever else is wrong: Celery looks it up first
	now := time.Now()
	v := gate(r, now)
	if v != unknown {
		w.logReceived(r)
	}
	if v == run || v == hold {
		w.observe(r.event(Received))
	}
	w.pass(r, v)
}

// due is called when a request's ETA has come.
func (w *Worker) due(r *request) { w.pass(r, gate(r, time.Now())) }

// pass carries out the gate's verdict. Once the worker is shutting down, the
// request is given back with all others that have not started.
func (w *Worker) pass(r *request, v verdict) {
	accepted := true
	switch v {
	case run:
		accepted = w.backlog.push(r)
	case hold:
		accepted = w.schedule.add(r)
	case expired:
		w.discard(r)
	case unknown:
		w.rejectUnknown(r)
	case unsupported:
		w.rejectUnsupported(r)
	}
	if !accepted {
		w.unstarted.add(r)
	}
}

// refuse drops a message that is no task this worker can read, as Celery does:
// it is logged and acknowledged, and no result is stored.
func (w *Worker) refuse(r *request, err error) {
	e := r.event(Refused)
	var disallowed *protocol.ContentDisallowedError
	var invalid *protocol.InvalidTaskError
	switch {
	case errors.As(err, &disallowed):
		e.Reason = ReasonContentType
	case errors.As(err, &invalid):
		e.Reason = ReasonInvalid
	case errors.Is(err, protocol.ErrUnknownMessage):
		e.Reason = ReasonUnknown
	default:
		e.Reason = ReasonUndecodable
	}
	w.logRefused(r, e.Reason, err)
	w.observe(e)
	w.settle(settlement{req: r, ack: late})
}

// rejectUnknown answers for a task that is not registered: the message is dropped
// and the task fails, so that its caller learns of it.
func (w *Worker) rejectUnknown(r *request) {
	w.logUnknown(r)
	r.storeErrors = w.cfg.Store != nil
	exc := newException("celery.exceptions", "NotRegistered", r.Name)
	w.settle(w.failure(r, early, exc, 0))
}

// rejectUnsupported fails a task that is part of a canvas before it runs: run
// without its continuation, it would leave the rest of the workflow waiting.
func (w *Worker) rejectUnsupported(r *request) {
	exc := newException("builtins", "NotImplementedError",
		"this worker cannot continue a "+needsCanvas(&r.Embed)+" yet: route the task "+r.Name+" to a Python worker")
	w.settle(w.failure(r, early, exc, 0))
}

// discard settles a task that has expired.
func (w *Worker) discard(r *request) {
	if w.enabled(levelInfo) {
		w.log.Info("Discarding revoked task: "+r.Name+"["+r.ID+"]", taskAttrs(r.Task)...)
	}
	exc := newException("celery.exceptions", "TaskRevokedError", "expired")
	s := w.failure(r, late, exc, 0)
	s.end.kind = Revoked
	s.record = w.record(r, protocol.Revoked, exc.Append(nil), nil, r.storeErrors)
	w.settle(s)
}
