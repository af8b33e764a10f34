package worker

import "time"

// verdict says what happens to a request next.
type verdict int

const (
	run      verdict = iota // now, as soon as a slot is free
	hold                    // not before its ETA
	limit                   // not before its rate limit allows it
	expired                 // discard as REVOKED
	revoked                 // discard as REVOKED: its id was revoked
	unknown                 // no such task here
	poisoned                // too many workers have died of it
	crowded                 // its executor has enough, and is not to hold what others could run
)

// gate decides about a request that was just received, or has waited for its ETA.
func (w *Worker) gate(r *request, now time.Time) verdict {
	switch {
	case r.task == nil:
		return unknown
	case isExpired(r, now):
		return expired
	case w.revocations.has(r.ID, now):
		return revoked
	case w.cfg.MaxRedeliveries >= 0 && r.redeliveries > w.cfg.MaxRedeliveries:
		return poisoned
	case r.ETA.After(now):
		return hold
	case r.task.limiter.Load() != nil && !r.limited:
		return limit
	case r.due.IsZero() && !r.unparked && w.runner.crowded(r):
		return crowded
	}
	return run
}

func isExpired(r *request, now time.Time) bool {
	return !r.Expires.IsZero() && now.After(r.Expires)
}
