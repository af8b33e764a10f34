package worker

import (
	"strings"
	"time"
)

// rejection says that a rejection of the message is announced along with a failure.
type rejection int

const (
	notRejected rejection = iota
	rejectedFirst
	rejectedLast
)

// What comes again is announced before it can be received again, so that monitors see
// the steps of a task in their order.
func isRetry(end *outcome) bool  { return end.kind == Retried }
func goesBack(end *outcome) bool { return end.requeue }
func isAny(*outcome) bool        { return true }

// announceAll announces the ends of some of a group that are not announced yet.
func (s *settler) announceAll(group []settlement, which func(*outcome) bool) {
	for i := range group {
		if one := &group[i]; one.end != nil && !one.announced && which(one.end) {
			one.announced = true
			s.announce(one)
		}
	}
}

// announceNow announces an end before it is settled.
func (s *settler) announceNow(one settlement) settlement {
	one.announced = true
	s.announce(&one)
	return one
}

// announce logs and reports the end of a task.
func (s *settler) announce(one *settlement) {
	if one.end.kind == Succeeded && s.succeeded != nil && one.req.acksLate {
		s.succeeded.add(time.Now(), strings.Clone(one.req.ID)) // which may be part of its message
	}
	if one.end.kind == Succeeded && !one.end.silent {
		s.log.succeeded(one.req, one.end)
	}
	if one.revoked {
		e := one.req.event(Revoked)
		e.Terminated, e.Signum = true, *one.req.terminated.Load()
		s.observers.tell(e)
	}
	if one.rejected == rejectedFirst {
		s.announceRejection(one)
	}
	if one.end.refused {
		e := one.req.event(Refused)
		e.Reason = one.end.reason
		s.observers.tell(e)
	}
	e := one.req.event(one.end.kind)
	e.Runtime, e.Result, e.Repr = one.end.runtime, one.end.result, one.end.repr
	e.Terminated, e.Expired, e.Requeue = one.end.terminated, one.end.expired, one.end.requeue
	e.Signum = one.end.signum
	e.Reason, e.Traceback, e.Raised = one.end.reason, one.end.traceback, one.end.exception
	e.Told, e.Refused = one.end.silent, one.end.refused
	if !one.end.returned.IsZero() {
		e.Settle = time.Since(one.end.returned)
	}
	if one.end.exception != nil {
		e.Exception = one.end.exception.Type
	}
	s.observers.tell(e)
	if one.rejected == rejectedLast {
		s.announceRejection(one)
	}
	if one.fate == burial && e.Kind != Buried {
		e.Kind = Buried
		s.observers.tell(e)
	}
}

func (s *settler) announceRejection(one *settlement) {
	e := one.req.event(Rejected)
	e.Requeue = one.end.requeue
	s.observers.tell(e)
}
