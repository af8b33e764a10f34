package connection

import (
	"math/rand/v2"
	"sync"
)

// Failover remembers which server of a list (redis://one;redis://two) is used: the one that
// worked last. All connections that share a Failover go to the same server, as those that
// consume and publish in one worker should. It is safe for concurrent use.
type Failover struct {
	// Shuffle starts at a random server of the list instead of the first
	// (broker_failover_strategy = shuffle).
	Shuffle bool

	mu      sync.Mutex
	started bool
	place   int
}

// Place returns the place in a list of n servers of the one to be tried first.
func (f *Failover) Place(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started && f.Shuffle {
		f.place = rand.IntN(n)
	}
	f.started = true
	return f.place % n
}

// Use says that the server at this place works.
func (f *Failover) Use(place int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started, f.place = true, place
}
