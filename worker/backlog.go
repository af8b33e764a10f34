package worker

import (
	"slices"
	"sync"
	"time"
)

// backlog holds the requests that wait for a slot and counts what the worker holds
// unacknowledged against its prefetch limit. From ready they go to accepted (see earlyack.go),
// and from there to the slots.
//
// Requests that wait for their ETA are not counted, as in Celery, where each of
// them raises the prefetch count by one.
type backlog struct {
	adaptive    bool // claim ahead while handlers are short
	acceptAhead int  // accept so many ahead then, at most
	returns     bool // what is accepted can go back
	counts      bool // what may start counts against the limit until it does
	// acceptFor is for how long the slots are to have enough that is accepted, if an acknowledgement
	// takes less.
	acceptFor time.Duration

	mu        sync.Mutex
	prefetch  int // the limit that was configured
	slots     int // concurrency
	limit     int // prefetch, or more
	onCall    onCall
	pace      pace
	takes     uint64
	takesSeen uint64     // at the last call of stalled
	stills    int        // how many calls of it in a row have seen none taken
	ready     []*request // from head on; what is before has been taken
	head      int
	accepted  []*request    // they may start
	accepting bool          // accept has some that are in neither
	holding   []*request    // they are about to be held again: see stalled
	expected  int           // will be accepted: see follow
	trip      time.Duration // how long an acknowledgement takes
	idle      int           // slots that wait
	held      int
	closed    bool
	abandoned bool          // nothing that is accepted will be taken any more
	wanted    sync.Cond     // accept waits here for requests that a slot can use
	taken     sync.Cond     // slots wait here for a request
	room      chan struct{} // tells the claim loop that claiming is worthwhile again
	over      chan struct{} // tells returnSurplus that more waits than prefetch
}

func newBacklog(prefetch, slots int, adaptive bool, room chan struct{}) *backlog {
	b := &backlog{
		prefetch: prefetch, slots: slots, adaptive: adaptive, limit: prefetch, pace: newPace(),
		room: room, over: make(chan struct{}, 1),
	}
	b.taken.L, b.wanted.L = &b.mu, &b.mu
	return b
}

// claimPortion is how many messages are claimed at a time, unless there are more slots. An acknowledgement that is sent
// behind a claim waits for it, and slots have no more than acceptedAhead until it is answered: what would be one long
// claim for all that there is room for is several, with what else is to be written between them.
const claimPortion = acceptedAhead

// want is how many messages to claim now, and free how many could be. want is 0 not only when the
// worker is full, but also while enough work is waiting: a claim of many messages costs one round trip
// as well as a claim of one does.
func (b *backlog) want() (want, free int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wantLocked(), b.limit - b.held - b.startableLocked()
}

func (b *backlog) wantLocked() int {
	startable := b.startableLocked()
	free := b.limit - b.held - startable
	portion := max(claimPortion, b.slots)
	if free <= 0 || free < min(portion, (b.limit+1)/2) && b.waitingLocked()+startable >= b.slots {
		return 0
	}
	return min(free, portion)
}

// startableLocked is how many count that were acknowledged early and have not started. What is being acknowledged does not, as in
// Celery: a claim goes with the acknowledgement, or each round trip would do for half as many.
func (b *backlog) startableLocked() int {
	if !b.counts {
		return 0
	}
	n := len(b.holding)
	for _, r := range b.accepted {
		if !r.acksLate {
			n++
		}
	}
	return n
}

// configured is the prefetch limit without what is claimed ahead.
func (b *backlog) configured() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.prefetch
}

// handed is how many messages the broker is to hand over, if it does that before they are claimed.
func (b *backlog) handed() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.prefetch, b.onCall.n)
}

// full tells whether it holds as much as it is meant to.
func (b *backlog) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held+b.startableLocked() >= b.limit
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
	b.wanted.Signal()
	if b.waitingLocked() > b.prefetch || b.keepsOnCallLocked() {
		signal(b.over)
	}
	return true
}

// reserve counts n more requests, or fewer, that are about to be pushed.
func (b *backlog) reserve(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held += n
	b.signalLocked()
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

// next waits until slots can use requests that are ready, and moves those to requests.
// Before it is called again, accept must be. It reports false after close.
func (b *backlog) next(requests []*request) ([]*request, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for {
		if b.closed {
			return nil, false
		}
		ahead, has := b.aheadLocked(), len(b.accepted)+b.expected
		if has < b.idle || 2*has <= ahead {
			n = min(b.idle+ahead-has, b.waitingLocked())
		}
		if n > 0 {
			break
		}
		b.wanted.Wait()
	}
	requests = append(requests, b.ready[b.head:b.head+n]...)
	clear(b.ready[b.head : b.head+n])
	if b.head += n; b.head == len(b.ready) {
		b.ready, b.head = b.ready[:0], 0
	}
	for _, r := range requests {
		if !r.acksLate {
			b.held--
		}
	}
	b.accepting = true
	b.signalLocked()
	return requests, true
}

// worthAhead times an acknowledgement has to take as long as a handler to be made ahead.
const worthAhead = 8

// aheadLocked is how many requests are accepted before a slot is idle: what the slots run
// while an acknowledgement is under way, or in acceptFor.
func (b *backlog) aheadLocked() int {
	run := max(b.pace.average, time.Microsecond)
	if b.trip < run/worthAhead {
		return 0
	}
	most := b.acceptAhead
	if b.counts {
		most = min(most, b.prefetch)
	}
	return min(int((time.Duration(b.slots)*max(b.trip, b.acceptFor)+run-1)/run), most)
}

// accept takes the requests of the last call of next that may start, and how long their
// acknowledgement took, 0 if there was none. An outage says nothing of what the next
// acknowledgement takes.
func (b *backlog) accept(requests []*request, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepting = false
	if took > 0 {
		b.trip += (min(took, stallAfter) - b.trip) / 8
	}
	b.accepted = append(b.accepted, requests...)
	if len(b.accepted) > b.idle {
		signal(b.over)
	}
	if b.counts {
		b.signalLocked() // some may be gone
	}
	if b.closed || len(requests) > 1 {
		b.taken.Broadcast()
	} else if len(requests) == 1 {
		b.taken.Signal()
	}
}

// expect reserves a place among what is accepted for a request that follows one whose slot the caller is about to
// leave, or for which no slot is left: leaving is 1 or 0. It reports false if something waits before it, or slots have
// enough.
func (b *backlog) expect(leaving int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.waitingLocked() > 0 || len(b.accepted)+b.expected >= leaving+b.idle+b.aheadLocked() {
		return false
	}
	b.expected++
	return true
}

// forgo gives up a place: the request will not follow.
func (b *backlog) forgo() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected--
	b.wanted.Signal()
}

// follow accepts a request that was expected. It reports false after close: nothing takes it any more.
func (b *backlog) follow(r *request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected--
	if b.closed {
		return false
	}
	b.accepted = append(b.accepted, r)
	if len(b.accepted) > b.idle {
		signal(b.over)
	}
	b.taken.Signal()
	b.wanted.Signal()
	return true
}

// take waits for the next request that may start. It reports false after close, when what
// was accepted has been taken, and when enough says, while there is none, that there are
// slots enough without the caller's.
func (b *backlog) take(enough func() bool) (*request, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle++
	defer func() { b.idle-- }()
	for len(b.accepted) == 0 || b.abandoned {
		if b.closed && !b.accepting || enough() {
			return nil, false
		}
		b.wanted.Signal()
		b.taken.Wait()
	}
	b.takes++
	r := b.accepted[0]
	b.accepted = slices.Delete(b.accepted, 0, 1)
	if 2*len(b.accepted) <= b.acceptAhead {
		b.wanted.Signal()
	}
	if b.counts {
		b.signalLocked()
	}
	return r, true
}

// again puts a request back that could not begin: it is the next. It reports false if nothing
// will be taken any more.
func (b *backlog) again(r *request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.abandoned {
		return false
	}
	b.accepted = slices.Insert(b.accepted, 0, r)
	b.taken.Signal()
	signal(b.over)
	return true
}

// heldAgain puts requests back, before all others, that stalled has returned to be held. It reports false after close.
func (b *backlog) heldAgain(requests []*request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = nil
	if b.closed {
		return false
	}
	b.ready = slices.Insert(b.ready, b.head, requests...)
	b.held += len(requests)
	b.wanted.Signal()
	return true
}

// resize takes another limit and number of slots.
func (b *backlog) resize(prefetch, slots int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prefetch, b.slots, b.limit, b.onCall.n = prefetch, slots, prefetch, 0
	b.taken.Broadcast() // slots that are one too many end when they have looked
	b.signalLocked()
}

// ran notes that a handler has run. A message that is acknowledged late has counted
// until now.
func (b *backlog) ran(r *request, runtime time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.acceptAhead > 0 {
		b.pace.note(runtime)
	}
	if b.adaptive {
		b.limit = max(b.prefetch, b.pace.ahead(b.slots))
	}
	if b.onCall.wanted && b.onCall.note(b.prefetch, r.content.Size, time.Now()) {
		signal(b.room) // the broker is told when it is looked for room
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

// close ends all calls of next, and those of take when nothing is accepted any more, and
// returns the requests that were not accepted.
func (b *backlog) close() []*request {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.ready[b.head:]
	b.ready, b.head, b.closed = nil, 0, true
	b.taken.Broadcast()
	b.wanted.Broadcast()
	return left
}

// abandon, after close, returns what was accepted and will not be taken any more. What next
// has handed out before close can still be accepted, and returned by another call.
func (b *backlog) abandon() []*request {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.accepted
	b.accepted, b.abandoned = nil, true
	return left
}

// waiting is the number of requests that wait for a slot.
func (b *backlog) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waitingLocked() + len(b.accepted) + len(b.holding)
}

// waitingLocked is the number of requests that are not accepted yet.
func (b *backlog) waitingLocked() int { return len(b.ready) - b.head }

// list returns the requests that wait for a slot, in their order.
func (b *backlog) list() []*request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Concat(b.accepted, b.holding, b.ready[b.head:])
}
