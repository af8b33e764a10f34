package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// outcome is how a task ended.
type outcome struct {
	kind      Kind
	signum    int    // of a termination
	result    []byte // JSON, of a success
	repr      string // of a result that has no JSON form
	exception *protocol.Exception
	traceback string
	runtime   time.Duration
	returned  time.Time // when the handler was done

	reason              string // why a message was refused or buried
	refused             bool   // of a failure: the message could not be run
	terminated, expired bool   // of a revocation
	requeue             bool   // of a rejection
	rejects             bool   // the handler has rejected its message, whatever that comes to
	silent              bool   // log and hooks are told nothing: nothing ran here

	retry   *tasks.RetryError // what a handler asked for that is retried
	remarks []remark
}

// errorOutcome works out what an error means: an outcome of its own, or a failure.
func (o *outcomes) errorOutcome(r *request, err error, runtime time.Duration) settlement {
	var retry *tasks.RetryError
	var reject *tasks.RejectError
	switch {
	case errors.As(err, &retry):
		return o.retry(r, retry, runtime)
	case errors.As(err, new(tasks.IgnoreError)):
		return settlement{req: r, fate: r.ackAfter(), end: &outcome{kind: Ignored, runtime: runtime, remarks: []remark{{kind: ignored}}}}
	case errors.As(err, &reject):
		return o.rejection(r, reject, runtime)
	}
	return o.fail(r, err, runtime)
}

// stateOf is the state that Celery's task_postrun names.
func stateOf(end *outcome) protocol.State {
	if end.rejects {
		return protocol.Rejected
	}
	switch end.kind {
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
func (o *outcomes) success(r *request, result any, runtime time.Duration) settlement {
	record, err := successRecord(result, r.recordOverhead())
	encoded := record.result
	if err != nil && r.needsResult() {
		return o.unencodable(r, err, runtime)
	}
	r.success = outcome{kind: Succeeded, result: encoded, runtime: runtime}
	s := settlement{req: r, fate: r.ackAfter(), end: &r.success}
	published := r.childCount()
	if err != nil {
		s.end.repr = fmt.Sprintf("<%T object>", result)
	} else if err := o.follow(&s, encoded); err != nil {
		return o.fail(r, err, runtime)
	}
	s.record = o.record(r, record, r.storeResult)
	if s.record != nil && o.encoder != nil {
		record, err := o.encoder.Encode(backend.Record{TaskID: r.ID, Document: s.record})
		if err != nil {
			r.dropChildren(published) // what would follow is not published
			return o.unencodable(r, err, runtime)
		}
		s.encoded = record.Encoded
	}
	o.countPart(&s, protocol.Success, encoded)
	return s
}

// needsResult tells that the task's result goes anywhere.
func (r *request) needsResult() bool {
	return r.storeResult || r.inChord() || r.Embed.Callbacks != nil || r.Embed.Chain != nil
}

// unencodable fails a task whose result has no JSON form: kombu's EncodeError around
// Python's TypeError.
func (o *outcomes) unencodable(r *request, err error, runtime time.Duration) settlement {
	cause := newException("builtins", "TypeError", err.Error()).Repr()
	exc := newException("kombu.exceptions", "EncodeError", cause)
	exc.Traceback = "Traceback (most recent call last):\nkombu.exceptions.EncodeError: " + err.Error() + "\n"
	exc.Representation = "EncodeError(" + cause + ")" // its argument is an exception in Python, and a text in records
	return o.failure(r, exc, runtime, remark{kind: raised, err: exc, exc: exc, text: exc.Representation})
}

// fail is the settlement of a task that fails with an error.
func (o *outcomes) fail(r *request, err error, runtime time.Duration) settlement {
	exc := tasks.ExceptionOf(err)
	if isLost(exc) {
		return o.lostProcess(r, exc, runtime, 0)
	}
	return o.failure(r, exc, runtime, remark{kind: raised, err: err, exc: exc, text: exc.Repr()})
}

// readEnd reads whom the end of a task concerns. Where only the executor can read that, nobody
// hears of an end that this worker has worked out itself.
func (o *outcomes) readEnd(r *request) []remark {
	err := r.readBody(o.decoder)
	if err == nil || r.task == nil || !r.task.pool.readsItself() || r.Told() {
		return nil // a Go handler's message is refused
	}
	return []remark{trouble("Cannot read the body of a task",
		"Cannot read the body of task "+nameAndID(r.Task)+": neither its chord nor its errbacks hear of its end", err)}
}

// failure is the settlement of a task that failed, or could not run.
func (o *outcomes) failure(r *request, exc *protocol.Exception, runtime time.Duration, remarks ...remark) settlement {
	remarks = append(remarks, o.readEnd(r)...)
	s := settlement{
		req: r, fate: r.ackAfter(), record: o.record(r, failureRecord(exc), r.storeErrors),
		end: &outcome{kind: Failed, exception: exc, traceback: exc.Traceback, runtime: runtime, returned: o.now(), remarks: remarks},
	}
	if r.acksLate && !r.task.acksOnFailure {
		s.rejected = rejectedFirst // dropped all the same, and announced so
	}
	o.failFollowing(&s, exc)
	return s
}

// rejection is the settlement of a task that rejects its message.
func (o *outcomes) rejection(r *request, reject *tasks.RejectError, runtime time.Duration) settlement {
	if reject.Reason == "" {
		return o.reject(r, reject.Requeue, nil, "None", runtime)
	}
	return o.reject(r, reject.Requeue, reject.Reason, reject.Reason, runtime)
}

// reject takes the reason as the exception has it and as the log has it. A message that is
// dropped fails its task (Celery 5.7).
func (o *outcomes) reject(r *request, back bool, reason any, text string, runtime time.Duration) settlement {
	said := remark{kind: rejected, text: text, back: back}
	exc := newException("celery.exceptions", "Reject", reason, back)
	if !back {
		s := o.failure(r, exc, runtime, said)
		s.end.rejects, s.rejected = true, notRejected
		if r.acksLate {
			s.rejected = rejectedLast
		}
		return s
	}
	s := settlement{req: r, end: &outcome{kind: Ignored, rejects: true, exception: exc, runtime: runtime, remarks: []remark{said}}}
	if r.acksLate {
		s.fate, s.end.kind, s.end.requeue = requeue, Rejected, true
	}
	return s
}

// isLost tells that an exception says that a process was lost.
func isLost(exc *protocol.Exception) bool {
	return exc.Module == "billiard.exceptions" && exc.Type == "WorkerLostError"
}

// lostProcess is the settlement of a task whose process it would have ended in Celery. It does not come back as long as a chord
// is claimed.
func (o *outcomes) lostProcess(r *request, exc *protocol.Exception, runtime, claimed time.Duration) settlement {
	if r.task.retryOnLost && r.readBody(o.decoder) == nil && (r.task.maxRetries < 0 || r.Retries < r.task.maxRetries) {
		again := &tasks.RetryError{Cause: exc}
		if r.retryWait(again) < claimed {
			again.Countdown = &claimed
		}
		return o.retry(r, again, runtime)
	}
	said := remark{kind: handlerError, exc: exc}
	if r.acksLate && r.task.rejectOnLost {
		r.redeliveries++ // one that kills whoever runs it does not come back for ever
		s := settlement{
			req: r, fate: requeue,
			end: &outcome{kind: Rejected, requeue: true, runtime: runtime, returned: o.now(), remarks: []remark{said}},
		}
		if claimed > 0 {
			s.with().finish = []finisher{after(claimed)}
		}
		return s
	}
	s := o.failure(r, exc, runtime, said)
	s.mayBeCounted()
	return s
}

// ackAfter is when a request whose handler has run is acknowledged.
func (r *request) ackAfter() fate {
	if r.acksLate {
		return late
	}
	return none
}

// revocation is the settlement of a task that is REVOKED.
func (o *outcomes) revocation(r *request, reason string, terminated bool) settlement {
	remarks := o.readEnd(r)
	exc := newException("celery.exceptions", "TaskRevokedError", reason)
	s := settlement{
		req: r, fate: late, record: o.record(r, revokedRecord(exc), r.storeErrors),
		end: &outcome{kind: Revoked, exception: exc, terminated: terminated, expired: reason == "expired", returned: o.now(), remarks: remarks},
	}
	if signum := r.terminated.Load(); terminated && signum != nil {
		s.end.signum = *signum
	}
	if terminated && !r.acksLate {
		s.fate = none // it was acknowledged when it started
	}
	o.countPart(&s, protocol.Revoked, exc.Append(nil))
	return s
}

// timedOut is the settlement of a request that has exceeded its hard time limit.
func (o *outcomes) timedOut(r *request, limit time.Duration, trace string) settlement {
	exc := newException("billiard.exceptions", "TimeLimitExceeded", seconds(limit))
	s := o.failure(r, exc, limit, remark{kind: hardLimit, limit: limit}, remark{kind: handlerError, exc: exc, text: trace})
	s.rejected = notRejected
	s.mayBeCounted()
	if r.acksLate && !r.task.acksOnTimeout {
		s.fate, s.rejected, s.end.requeue = requeue, rejectedFirst, true
	}
	return s
}

// cutOff is the settlement of a task that a cold shutdown has stopped and whose message is
// gone from the queue. As in Celery (since 5.5), its state becomes RETRY, which tells
// clients that they wait in vain.
func (o *outcomes) cutOff(r *request) settlement {
	exc := newException("celery.exceptions", "Retry", "cancelled by a cold shutdown")
	return settlement{req: r, record: o.record(r, recordOf{state: protocol.Retry, result: exc.Append(nil)}, r.storeErrors)}
}
