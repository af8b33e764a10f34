package worker

import "time"

// verdict says what happens to a request next.
type verdict int

const (
	run         verdict = iota // now, as soon as a slot is free
	hold                       // not before its ETA
	expired                    // discard as REVOKED
	unknown                    // no such task here
	unsupported                // part of a canvas, which this version cannot continue
)

// gate decides about a request that was just received, or whose ETA has come.
func gate(r *request, now time.Time) verdict {
	switch {
	case r.entry == nil:
		return unknown
	case isExpired(r, now):
		return expired
	case needsCanvas(&r.Embed) != "":
		return unsupported
	case r.ETA.After(now):
		return hold
	}
	return run
}

func isExpired(r *request, now time.Time) bool {
	return !r.Expires.IsZero() && now.After(r.Expires)
}
