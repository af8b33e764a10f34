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

// gate decides about requests, and changes nothing.
type gate struct {
	revocations     *revocations
	maxRedeliveries int // negative: no limit
	runner          *runner
}

// decide decides about a request that was just received, or has waited for its ETA.
func (g *gate) decide(r *request, now time.Time) verdict {
	switch {
	case r.task == nil:
		return unknown
	case isExpired(r, now):
		return expired
	case g.revocations.has(r.ID, now):
		return revoked
	case g.maxRedeliveries >= 0 && r.redeliveries > g.maxRedeliveries:
		return poisoned
	case r.ETA.After(now):
		return hold
	case r.task.limiter.Load() != nil && !r.limited:
		return limit
	case r.due.IsZero() && !r.unparked && g.runner.crowded(r):
		return crowded
	}
	return run
}

func isExpired(r *request, now time.Time) bool {
	return !r.Expires.IsZero() && now.After(r.Expires)
}
