package worker

import (
	"time"

	"github.com/apium/apium/protocol"
)

// settledElsewhere is the settlement of a task whose executor has seen to all but the record
// and the message.
func (w *Worker) settledElsewhere(r *request, o *Settled, runtime time.Duration) settlement {
	if o.Runtime > 0 {
		runtime = o.Runtime
	}
	s := settlement{
		req: r, fate: r.ackAfter(), record: o.Record,
		end: &outcome{repr: o.Repr, exception: o.Exception, runtime: runtime, silent: true},
	}
	if o.Exception != nil {
		s.end.traceback = o.Exception.Traceback
	}
	switch o.State {
	case protocol.Success:
		s.end.kind = Succeeded
	case protocol.Retry:
		s.end.kind = Retried
	case protocol.Ignored:
		s.end.kind = Ignored
	case protocol.Rejected:
		s.end.kind = Rejected
		if s.end.requeue = o.Requeue; o.Requeue && r.acksLate {
			s.fate = requeue
		}
	default:
		s.end.kind = Failed
		if r.acksLate && !r.task.acksOnFailure {
			s.rejected = rejectedFirst
		}
	}
	return s
}

// terminated is the settlement of a task that an operator has stopped.
func (w *Worker) terminated(r *request) settlement {
	s := w.revocation(r, "terminated", true)
	w.hooks.taskRevoked(r, true, false)
	return s
}
