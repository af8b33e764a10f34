package worker

import (
	"time"

	"github.com/apium/apium/protocol"
)

// settledElsewhere is the settlement of a task whose executor has seen to all but the record
// and the message.
func (o *outcomes) settledElsewhere(r *request, by *Settled, runtime time.Duration) settlement {
	if by.Runtime > 0 {
		runtime = by.Runtime
	}
	s := settlement{
		req: r, fate: r.ackAfter(), record: by.Record,
		end: &outcome{repr: by.Repr, exception: by.Exception, runtime: runtime, silent: true},
	}
	if by.Exception != nil {
		s.end.traceback = by.Exception.Traceback
	}
	switch by.State {
	case protocol.Success:
		s.end.kind = Succeeded
	case protocol.Retry:
		s.end.kind = Retried
	case protocol.Ignored:
		s.end.kind = Ignored
	case protocol.Rejected:
		s.end.kind = Rejected
		if s.end.requeue = by.Requeue; by.Requeue && r.acksLate {
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
