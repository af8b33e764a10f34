package worker

import (
	"slices"
	"sync"
	"time"
)

// backlog holds the requests that wait for a slot and counts what the worker holds
// unacknowledged against its prefetch limit.
//
// Requests that wait for their ETA are not counted, as in Celery, where each of
// them raises the prefetch count by one.
type backlog struct {
	adaptive bool // claim ahead while handlers are short

	mu        sync.Mutex
	prefetch  int // the limit that was configured
	slots     int // concurrency
	limit     int // prefetch, or more
	pace      pace
	takes     uint64
	takesSeen uint64     // at the last call of stalled
	ready     []*request // from head on; what is before has been taken
	head      int
	held      int
	closed    bool
	taken     sync.Cond     // slots wait here for a request
	room      chan struct{} // tells the claim loop that claiming is worthwhile again
	over      chan struct{} // tells returnSurplus that more waits than prefetch
}

func newBacklog(prefetch, slots int, adaptive bool) *backlog {
	b := &backlog{
		prefetch: prefetch, slots: slots, adaptive: adaptive, limit: prefetch, pace: newPace(),
		room: make(chan struct{}, 1), over: make(chan struct{}, 1),
	}
	b.taken.L = &b.mu
	return b
}

// want is how many messages to claim now. It is 0 not only when the worker is full,
// but also while enough work is waiting: a claim of half the limit costs one round
// trip as well as a claim of one message does.
func (b *backlog) want() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wantLocked()
}

func (b *backlog) wantLocked() int {
	free := b.limit - b.held
	if free <= 0 || free < (b.limit+1)/2 && b.waitingLocked() >= b.slots {
		return 0
	}
	return free
}

// push queues a request for the next free slot. It reports false after close.
func (b *backlog) push(r *request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.compactLocked()
	b.ready = append(b.ready, r)
	b.held++
	b.taken.Signal()
	if b.waitingLocked() > b.prefetch {
		signal(b.over)
	}
	return true
}

// compactLocked moves what waits to the front when the slice would grow although half
// of it has been taken: on a worker that is never idle it would grow for ever.
func (b *backlog) compactLocked() {
	if len(b.ready) < cap(b.ready) || 2*b.head < len(b.ready) {
		return
	}
	n := copy(b.ready, b.ready[b.head:])
	clear(b.ready[n:])
	b.ready, b.head = b.ready[:n], 0
}

// take waits for the next request. It reports false after close, and when enough says,
// while nothing waits, that there are slots enough without the caller's.
func (b *backlog) take(enough func() bool) (*request, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.waitingLocked() == 0 && !b.closed {
		if enough() {
			return nil, false
		}
		b.taken.Wait()
	}
	if b.closed {
		return nil, false
	}
	b.takes++
	r := b.ready[b.head]
	b.ready[b.head] = nil
	if b.head++; b.head == len(b.ready) {
		b.ready, b.head = b.ready[:0], 0
	}
	if !r.acksLate {
		b.held--
	}
	b.signalLocked()
	return r, true
}

// resize takes another limit and number of slots.
func (b *backlog) resize(prefetch, slots int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prefetch, b.slots, b.limit = prefetch, slots, prefetch
	b.taken.Broadcast() // slots that are one too many end when they have looked
	b.signalLocked()
}

// ran notes that a handler has run. A message that is acknowledged late has counted
// until now.
func (b *backlog) ran(r *request, runtime time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.adaptive {
		b.pace.note(runtime)
		b.limit = max(b.prefetch, b.pace.ahead(b.slots))
	}
	if r.acksLate {
		b.held--
		b.signalLocked()
	}
}

func (b *backlog) signalLocked() {
	if b.wantLocked() == 0 {
		return
	}
	signal(b.room)
}

// signal leaves a token in a channel of one, unless there is one already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close ends all take calls and returns the requests that no slot took.
func (b *backlog) close() []*request {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.ready[b.head:]
	b.ready, b.head, b.closed = nil, 0, true
	b.taken.Broadcast()
	return left
}

// waiting is the number of requests that wait for a slot.
func (b *backlog) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waitingLocked()
}

func (b *backlog) waitingLocked() int { return len(b.ready) - b.head }

// list returns the requests that wait for a slot, in their order.
func (b *backlog) list() []*request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.ready[b.head:])
}
