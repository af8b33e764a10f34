package worker

import "time"

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
func (w *Worker) announceAll(group []settlement, which func(*outcome) bool) {
	for i := range group {
		if s := &group[i]; s.end != nil && !s.announced && which(s.end) {
			s.announced = true
			w.announce(s)
		}
	}
}

// announce logs and reports the end of a task.
func (w *Worker) announce(s *settlement) {
	if s.end.kind == Succeeded && w.cfg.Deduplicate && s.req.acksLate {
		w.successful.add(time.Now(), s.req.ID)
	}
	if s.end.kind == Succeeded && !s.end.silent {
		w.log.succeeded(s.req, s.end)
	}
	if s.rejected == rejectedFirst {
		w.announceRejection(s)
	}
	if s.end.refused {
		e := s.req.event(Refused)
		e.Reason = s.end.reason
		w.observers.tell(e)
	}
	e := s.req.event(s.end.kind)
	e.Runtime, e.Result = s.end.runtime, s.end.result
	e.Terminated, e.Expired, e.Requeue = s.end.terminated, s.end.expired, s.end.requeue
	e.Signum = s.end.signum
	e.Reason, e.Traceback, e.Raised = s.end.reason, s.end.traceback, s.end.exception
	if !s.end.returned.IsZero() {
		e.Settle = time.Since(s.end.returned)
	}
	if s.end.exception != nil {
		e.Exception = s.end.exception.Type
	}
	w.observers.tell(e)
	if s.rejected == rejectedLast {
		w.announceRejection(s)
	}
	if s.fate == burial && e.Kind != Buried {
		e.Kind = Buried
		w.observers.tell(e)
	}
}

func (w *Worker) announceRejection(s *settlement) {
	e := s.req.event(Rejected)
	e.Requeue = s.end.requeue
	w.observers.tell(e)
}
