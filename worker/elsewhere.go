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
	s.end.rejects = by.Rejects || by.State == protocol.Rejected
	switch by.State {
	case protocol.Success:
		s.end.kind = Succeeded
	case protocol.Retry:
		s.end.kind = Retried
	case protocol.Ignored:
		s.end.kind = Ignored
	case protocol.Rejected:
		s.rejects(by)
	default:
		s.end.kind = Failed
		switch {
		case by.Rejects && r.acksLate:
			s.rejected = rejectedLast
		case r.acksLate && !by.Rejects && !r.task.acksOnFailure:
			s.rejected = rejectedFirst
		}
	}
	if by.Part != nil {
		s.end.remarks = append(s.end.remarks, o.readEnd(r)...)
		o.countAgain(&s, by.State, by.Part)
	}
	return s
}

// rejects is the end of a task that rejects its message. One that is acknowledged already is
// not given back, and nobody hears that it should be.
func (s *settlement) rejects(by *Settled) {
	if !s.req.acksLate {
		s.end.kind = Ignored
		return
	}
	s.end.kind = Rejected
	if s.end.requeue = by.Requeue; by.Requeue {
		s.fate = requeue
	}
}
