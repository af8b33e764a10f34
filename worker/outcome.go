package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// outcome is how a task ended.
type outcome struct {
	kind      Kind
	result    []byte // JSON, of a success
	repr      string // of a result that has no JSON form
	exception *protocol.Exception
	traceback string
	runtime   time.Duration
	returned  time.Time // when the handler was done

	reason              string // why a message was refused or buried
	refused             bool   // of a failure: the message could not be run
	terminated, expired bool   // of a revocation
	signum              int    // of a termination
	requeue             bool   // of a rejection
	silent              bool   // a success that is not logged: nothing ran
}

// outcomeOf works out what the end of a run means.
func (w *Worker) outcomeOf(ctx context.Context, r *request, o Outcome, runtime time.Duration) settlement {
	var s settlement
	var lost *LostError
	switch {
	case r.terminated.Load() != nil:
		s = w.terminated(r)
	case o.Settled != nil:
		s = w.settledElsewhere(r, o.Settled, runtime)
	case o.Err == nil:
		s = w.success(r, o.Result, runtime)
	case errors.As(o.Err, &lost):
		s = w.lostProcess(r, newException("billiard.exceptions", "WorkerLostError", lost.Error()), runtime)
	default:
		s = w.errorOutcome(r, r.task.autoRetry.Retry(w.softTimeout(ctx, o.Err), r.Retries), runtime)
	}
	r.takeReplacement(&s)
	s.end.returned = time.Now()
	w.hooks.taskPostrun(ctx, r, stateOf(s.end.kind), s.end.result)
	return s
}

// errorOutcome works out what an error means: an outcome of its own, or a failure.
func (w *Worker) errorOutcome(r *request, err error, runtime time.Duration) settlement {
	var retry *tasks.RetryError
	var reject *tasks.RejectError
	switch {
	case errors.As(err, &retry):
		return w.retry(r, retry, runtime)
	case errors.As(err, new(tasks.IgnoreError)):
		w.log.ignored(r)
		return settlement{req: r, fate: r.ackAfter(), end: &outcome{kind: Ignored, runtime: runtime}}
	case errors.As(err, &reject):
		return w.rejection(r, reject, runtime)
	}
	return w.fail(r, err, runtime)
}

// stateOf is the state that Celery's task_postrun names.
func stateOf(kind Kind) protocol.State {
	switch kind {
	case Succeeded:
		return protocol.Success
	case Retried:
		return protocol.Retry
	case Ignored:
		return protocol.Ignored
	case Rejected:
		return protocol.Rejected
	case Revoked:
		return protocol.Revoked
	default:
		return protocol.Failure
	}
}

// success publishes what follows, then stores the result.
func (w *Worker) success(r *request, result any, runtime time.Duration) settlement {
	encoded, err := pyjson.Append(nil, result)
	if encoder := w.stored.Encoder; encoder != nil && err == nil && r.storeResult {
		err = encoder.CanEncode(encoded)
	}
	if err != nil && r.needsResult() {
		return w.unencodable(r, err, runtime)
	}
	s := settlement{
		req: r, fate: r.ackAfter(),
		end: &outcome{kind: Succeeded, result: encoded, runtime: runtime},
	}
	if err != nil {
		s.end.repr = fmt.Sprintf("<%T object>", result)
	} else if err := w.follow(&s, encoded); err != nil {
		return w.fail(r, err, runtime)
	}
	s.record = w.record(r, recordOf{state: protocol.Success, result: encoded}, r.storeResult)
	w.countPart(&s, protocol.Success, encoded)
	w.hooks.taskSuccess(r, encoded)
	return s
}

// needsResult tells that the task's result goes anywhere.
func (r *request) needsResult() bool {
	return r.storeResult || r.inChord() || r.Embed.Callbacks != nil || r.Embed.Chain != nil
}

// unencodable fails a task whose result has no JSON form: kombu's EncodeError around
// Python's TypeError.
func (w *Worker) unencodable(r *request, err error, runtime time.Duration) settlement {
	cause := newException("builtins", "TypeError", err.Error()).Repr()
	exc := newException("kombu.exceptions", "EncodeError", cause)
	exc.Traceback = "Traceback (most recent call last):\nkombu.exceptions.EncodeError: " + err.Error() + "\n"
	w.log.failed(r, exc, exc, "EncodeError("+cause+")")
	return w.failure(r, exc, runtime)
}

// fail logs an error and is the settlement of a task that fails with it.
func (w *Worker) fail(r *request, err error, runtime time.Duration) settlement {
	exc := tasks.ExceptionOf(err)
	if exc.Module == "billiard.exceptions" && exc.Type == "WorkerLostError" {
		return w.lostProcess(r, exc, runtime)
	}
	w.log.failed(r, err, exc, exc.Repr())
	return w.failure(r, exc, runtime)
}

// failure is the settlement of a task that failed, or could not run. The caller logs it.
func (w *Worker) failure(r *request, exc *protocol.Exception, runtime time.Duration) settlement {
	_ = r.readBody(&w.decoder)
	s := settlement{
		req: r, fate: r.ackAfter(), record: w.record(r, failureRecord(exc), r.storeErrors),
		end: &outcome{kind: Failed, exception: exc, traceback: exc.Traceback, runtime: runtime, returned: time.Now()},
	}
	if r.acksLate && !r.task.acksOnFailure {
		s.rejected = rejectedFirst // dropped all the same, and announced so
	}
	w.failFollowing(&s, exc)
	w.hooks.taskFailure(r, exc)
	return s
}

// rejection is the settlement of a task that rejects its message.
func (w *Worker) rejection(r *request, reject *tasks.RejectError, runtime time.Duration) settlement {
	if reject.Reason == "" {
		return w.reject(r, reject.Requeue, nil, "None", runtime)
	}
	return w.reject(r, reject.Requeue, reject.Reason, reject.Reason, runtime)
}

// reject takes the reason as the exception has it and as the log has it. A message that is
// dropped fails its task (Celery 5.7).
func (w *Worker) reject(r *request, back bool, reason any, text string, runtime time.Duration) settlement {
	w.log.rejected(r, back, text)
	exc := newException("celery.exceptions", "Reject", reason, back)
	if !back {
		s := w.failure(r, exc, runtime)
		s.rejected = notRejected
		if r.acksLate {
			s.rejected = rejectedLast
		}
		return s
	}
	s := settlement{req: r, end: &outcome{kind: Ignored, exception: exc, runtime: runtime}}
	if r.acksLate {
		s.fate, s.end.kind, s.end.requeue = requeue, Rejected, true
	}
	return s
}

// lostProcess is the settlement of a task whose process it would have ended in Celery.
func (w *Worker) lostProcess(r *request, exc *protocol.Exception, runtime time.Duration) settlement {
	w.log.handlerError(r, exc, "")
	if r.task.retryOnLost && r.readBody(&w.decoder) == nil && (r.task.maxRetries < 0 || r.Retries < r.task.maxRetries) {
		return w.retry(r, &tasks.RetryError{Cause: exc}, runtime)
	}
	if r.acksLate && r.task.rejectOnLost {
		return settlement{
			req: r, fate: requeue,
			end: &outcome{kind: Rejected, requeue: true, runtime: runtime, returned: time.Now()},
		}
	}
	return w.failure(r, exc, runtime)
}

// ackAfter is when a request whose handler has run is acknowledged.
func (r *request) ackAfter() fate {
	if r.acksLate {
		return late
	}
	return none
}

// revocation is the settlement of a task that is REVOKED.
func (w *Worker) revocation(r *request, reason string, terminated bool) settlement {
	_ = r.readBody(&w.decoder)
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
