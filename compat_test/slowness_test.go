package compat_test

import (
	"sync"
	"time"
)

// slowness knows when this machine had no time for its processes: then what is to happen at
// a certain time happens later, whoever is to do it.
var slowness struct {
	mu    sync.Mutex
	waits []late
}

// late is a wait of this process that took longer than it should.
type late struct {
	at time.Time
	by time.Duration
}

// watchSlowness waits again and again, for as long as the tests run.
func watchSlowness() {
	const wait, negligible = 10 * time.Millisecond, 2 * time.Millisecond
	for {
		start := time.Now()
		time.Sleep(wait)
		if by := time.Since(start) - wait; by > negligible {
			slowness.mu.Lock()
			slowness.waits = append(slowness.waits, late{start, by})
			slowness.mu.Unlock()
		}
	}
}

// allow is how long something may take that takes at most so long on an idle machine, and
// has gone on since then. A program that needs several turns of a processor, beside others
// that do, is late several times.
func allow(idle time.Duration, since time.Time) time.Duration {
	slowness.mu.Lock()
	defer slowness.mu.Unlock()
	worst := time.Duration(0)
	for _, l := range slowness.waits {
		if l.at.After(since) {
			worst = max(worst, l.by)
		}
	}
	return idle + 20*worst
}
