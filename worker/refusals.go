package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
)

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

// discarded settles a request that has expired or was revoked while it waited.
func (w *Worker) discarded(r *request) bool {
	now := time.Now()
	switch isExpired := isExpired(r, now); {
	case isExpired || w.revocations.has(r.ID, now):
		w.discard(r, isExpired)
	default:
		header, value, found := w.revocations.byStamp(r.Task)
		if !found {
			return false
		}
		w.log.discardedByStamp(r, header, value)
		w.settle(w.revocation(r, "revoked", false))
		w.hooks.taskRevoked(r, false, false)
	}
	return true
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

// failUnknown drops the message; the task fails, so that its caller learns of it. As in
// Celery neither a chord nor errbacks hear of it.
func (w *Worker) failUnknown(r *request) {
	w.log.unknown(r)
	w.hooks.taskUnknown(r)
	r.storeErrors = w.cfg.Store != nil
	exc := newException("celery.exceptions", "NotRegistered", r.Name)
	w.settle(settlement{
		req: r, fate: late, record: w.record(r, failureRecord(exc), r.storeErrors),
		end: &outcome{kind: Failed, exception: exc, returned: time.Now()},
	})
}

// buryPoison puts a message among the dead letters that its workers have died of. As in
// Celery where a child process is lost, its task fails, so that nobody waits for it any more;
// replayed, it may still succeed.
func (w *Worker) buryPoison(r *request) {
	detail := fmt.Sprintf("given back %d times because a worker died", r.redeliveries)
	s := w.failure(r, newException("billiard.exceptions", "WorkerLostError", "Worker exited prematurely: "+detail), 0)
	s.rejected, s.end.reason = notRejected, ReasonRedelivered
	w.settleBurial(s, ReasonRedelivered, detail)
}

// bury puts a message among the dead letters.
func (w *Worker) bury(r *request, reason, detail string) {
	w.settleBurial(settlement{req: r, end: &outcome{kind: Buried, reason: reason}}, reason, detail)
}

func (w *Worker) settleBurial(s settlement, reason, detail string) {
	s.fate, s.reason = burial, reason+": "+detail
	what := "Moving a message to the dead letters"
	if w.mover == nil {
		what, s.fate = "Dropping a message", late
	}
	w.log.task(slog.LevelError, s.req, what, what+": "+logline.Escape(s.reason)+"\n"+dump(s.req.content.Text()), logline.Lines(),
		slog.String("reason", reason), slog.String("detail", detail), slog.String("message", dump(s.req.content.Text())))
	w.settle(s)
}
