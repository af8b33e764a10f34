package redisconn

import (
	"math/rand/v2"
	"time"
)

const (
	minPause = 100 * time.Millisecond
	maxPause = 2 * time.Second
	// shortLived is how many attempts that failed a connection counts as that was there, but was lost at once: a server that drops everybody
	// is asked again in 0.8 s at most, one that nobody reaches in maxPause.
	shortLived = 3
)

// Pace is the pauses between attempts to connect: of any length up to a limit, that doubles from 100 ms to 2 s, so that those who
// have lost a server together do not come back together. The zero value is before the first.
type Pace struct{ attempts int }

// Next returns the pause before the next attempt.
func (p *Pace) Next() time.Duration {
	limit := min(minPause<<min(p.attempts, 10), maxPause)
	p.attempts++
	return rand.N(limit)
}

// Lasted says for how long there was a connection, since the last attempt.
func (p *Pace) Lasted(d time.Duration) {
	if p.attempts = min(p.attempts, shortLived); d > maxPause {
		p.attempts = 0
	}
}
