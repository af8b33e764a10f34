package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
)

// refusals answers for messages that do not run: what cannot be read, is unknown, has expired,
// was revoked or kills workers.
type refusals struct {
	decoder     *protocol.Decoder
	revocations *revocations
	stores      bool // there is a result backend
	buries      bool // there are dead letters

	answers *answers
	settler *settler
	hooks   *hooks
	log     taskLog
}

// refuse drops a message that is no task this worker can run. What Celery acknowledges or
// rejects is kept among the dead letters, and where the message tells which task it was,
// that fails, so that nobody waits for it; replayed, it may still succeed.
func (f *refusals) refuse(r *request, err error) {
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
	f.log.refused(r, reason, err)
	f.hooks.taskRejected(r.content.Text(), err)
	s := settlement{req: r, end: &outcome{kind: Refused, reason: reason}}
	if r.task != nil {
		r.apply(f.stores)
		s = f.answers.failure(r, refusal(err))
		s.rejected, s.end.refused, s.end.reason = notRejected, true, reason
	}
	s.fate = late
	if f.buries {
		s.fate, s.reason = burial, reason+": "+err.Error()
	}
	f.settler.settle(s)
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
func (f *refusals) discard(r *request, expired bool) {
	f.log.discarded(r)
	reason := "revoked"
	if expired {
		reason = "expired"
		f.revocations.note(r.ID)
	}
	f.settler.settle(f.answers.discarded(r, reason))
}

// discardLate settles a request that has expired or was revoked while it waited.
func (f *refusals) discardLate(r *request) bool {
	now := time.Now()
	switch isExpired := isExpired(r, now); {
	case isExpired || f.revocations.has(r.ID, now):
		f.discard(r, isExpired)
	default:
		header, value, found := f.revocations.byStamp(r.Task)
		if !found {
			return false
		}
		f.log.discardedByStamp(r, header, value)
		f.settler.settle(f.answers.discarded(r, "revoked"))
	}
	return true
}

// failUnknown drops the message; the task fails, so that its caller learns of it. As in
// Celery neither a chord nor errbacks hear of it.
func (f *refusals) failUnknown(r *request) {
	_ = r.readBody(f.decoder) // for the log
	f.log.unknown(r)
	f.hooks.taskUnknown(r)
	r.storeErrors = f.stores
	bare := *r.Task // Celery stores the failure of an id, without its request
	bare.GroupID, bare.ParentID = "", ""
	r.Task = &bare
	exc := newException("celery.exceptions", "NotRegistered", r.Name)
	f.settler.settle(settlement{
		req: r, fate: late, record: f.answers.outcomes.record(r, failureRecord(exc), r.storeErrors),
		end: &outcome{kind: Failed, exception: exc, returned: time.Now()},
	})
}

// buryPoison puts a message among the dead letters that its workers have died of. As in
// Celery where a child process is lost, its task fails, so that nobody waits for it any more;
// replayed, it may still succeed.
func (f *refusals) buryPoison(r *request) {
	detail := fmt.Sprintf("given back %d times because a worker died", r.redeliveries)
	s := f.answers.failure(r, newException("billiard.exceptions", "WorkerLostError", "Worker exited prematurely: "+detail))
	s.rejected, s.end.reason = notRejected, ReasonRedelivered
	f.settleBurial(s, ReasonRedelivered, detail)
}

// bury puts a message among the dead letters.
func (f *refusals) bury(r *request, reason, detail string) {
	f.settleBurial(settlement{req: r, end: &outcome{kind: Buried, reason: reason}}, reason, detail)
}

func (f *refusals) settleBurial(s settlement, reason, detail string) {
	s.fate, s.reason = burial, reason+": "+detail
	what := "Moving a message to the dead letters"
	if !f.buries {
		what, s.fate = "Dropping a message", late
	}
	f.log.task(slog.LevelError, s.req, what, what+": "+logline.Escape(s.reason)+"\n"+dump(s.req.content.Text()), logline.Lines(),
		slog.String("reason", reason), slog.String("detail", detail), slog.String("message", dump(s.req.content.Text())))
	f.settler.settle(s)
}
