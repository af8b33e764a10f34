package redisconn

import (
	"math/rand/v2"
	"time"
)

// MaxPause is the longest pause between attempts to connect, and to do again what a connection was lost for.
const MaxPause = 2 * time.Second

const (
	minPause = 100 * time.Millisecond
	// shortLived is how many attempts that failed a connection counts as that was there, but was lost at once: a server that drops everybody
	// is asked again in 0.8 s at most, one that nobody reaches in MaxPause.
	shortLived = 3
)

// PauseBefore returns the pause before attempt n+1: of any length up to a limit, that doubles from 100 ms to most, so that those who
// have lost a server together do not come back together.
func PauseBefore(n int, most time.Duration) time.Duration {
	return rand.N(min(minPause<<min(n, 10), most))
}

// Pace is the pauses between attempts to connect, of up to MaxPause. The zero value is before the first.
type Pace struct{ attempts int }

// Next returns the pause before the next attempt.
func (p *Pace) Next() time.Duration {
	pause := PauseBefore(p.attempts, MaxPause)
	p.attempts++
	return pause
}

// Lasted says for how long there was a connection, since the last attempt.
func (p *Pace) Lasted(d time.Duration) {
	if p.attempts = min(p.attempts, shortLived); d > MaxPause {
		p.attempts = 0
	}
}
