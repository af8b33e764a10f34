package worker

import "time"

// When handlers take microseconds, a worker that holds a few messages per slot spends
// its time waiting for claims. So, unless the prefetch multiplier was set, it claims
// what its slots will run in the next moment, even above the prefetch limit. Should
// the slots then be busy for longer, what is above the limit goes back at once.
const (
	aheadFor   = 5 * time.Millisecond  // the moment
	aheadMost  = 256                   // messages held this way, at most
	stallAfter = 50 * time.Millisecond // without a free slot: the guess was wrong
)

// pace guesses how long handlers take, from those that have run.
type pace struct{ average time.Duration }

func newPace() pace { return pace{average: aheadFor} }

// note adds one observation: a moving average over about eight.
func (p *pace) note(runtime time.Duration) {
	p.average += (min(runtime, time.Second) - p.average) / 8
}

// ahead is how many messages slots run in the next moment.
func (p *pace) ahead(slots int) int {
	return min(slots*int(aheadFor/max(p.average, time.Microsecond)), aheadMost)
}
