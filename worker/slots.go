package worker

import (
	"slices"
	"sync"
	"sync/atomic"
)

// slots are the places in which a pool's requests run, each with a goroutine. Their number can
// change, and one whose request is not waited for any more is replaced.
type slots struct {
	pool *pool

	mu      sync.Mutex
	members map[*slot]bool // those that count; an abandoned one does not
	wanted  int
	closed  bool

	abandoned      atomic.Int64 // those that still run although nobody waits for them
	abandonedTotal atomic.Int64
}

// slot runs requests, one after the other.
type slot struct {
	place   Slot                    // set before it has a request
	current atomic.Pointer[request] // nil while it is idle
	runs    atomic.Int64            // how many requests it has taken
}

func newSlots(p *pool) *slots { return &slots{pool: p, members: map[*slot]bool{}} }

// resize starts slots until there are n, or has those beyond n end when they are idle.
func (s *slots) resize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = n
	s.fillLocked()
}

// fillLocked starts the slots that are missing.
func (s *slots) fillLocked() {
	for len(s.members) < s.wanted && !s.closed {
		member := &slot{}
		s.members[member] = true
		s.pool.runner.running.Add(1)
		go s.run(member)
	}
}

// run takes requests until there are none, the slot is one too many, or it was abandoned.
func (s *slots) run(member *slot) {
	member.place = s.pool.executor.NewSlot()
	defer member.place.Close()
	defer s.died(member)
	enough := func() bool { return s.leave(member) }
	for s.pool.ready(member.place) {
		r, ok := s.pool.backlog.take(enough)
		if !ok {
			break
		}
		member.runs.Add(1)
		if stay := s.pool.execute(member, r); !stay || enough() {
			return // abandoned and replaced, or one too many: it does not count any more
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(member)
}

// leave takes a slot out of the count if there are more than wanted. It may be called
// while the backlog is locked.
func (s *slots) leave(member *slot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.members) <= s.wanted {
		return false
	}
	s.removeLocked(member)
	return true
}

func (s *slots) removeLocked(member *slot) {
	if s.members[member] {
		delete(s.members, member)
		s.pool.runner.running.Done()
	}
}

// replace lets go of a slot whose request does not end, and starts another.
func (s *slots) replace(member *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned.Add(1)
	s.abandonedTotal.Add(1)
	s.removeLocked(member)
	s.fillLocked()
}

// died answers for a handler that ended its goroutine (runtime.Goexit). After any
// other end there is nothing left to do.
func (s *slots) died(member *slot) {
	r := member.current.Load()
	if r == nil {
		return
	}
	s.pool.ended(s.pool.runner.taskCtx, member, r, Outcome{Err: errGoexit})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(member)
	s.fillLocked()
}

// close keeps new slots from starting. The backlog's end ends those that there are.
func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// busy returns the slots that have a request which is waited for.
func (s *slots) busy() (members []*slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for member := range s.members {
		if member.current.Load() != nil {
			members = append(members, member)
		}
	}
	return members
}

// requests returns those that slots have and that are waited for.
func (s *slots) requests() (requests []*request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for member := range s.members {
		if r := member.current.Load(); r != nil {
			requests = append(requests, r)
		}
	}
	return requests
}

// active returns the requests that have begun, have not been settled, and are waited for.
func (s *slots) active() []*request {
	return slices.DeleteFunc(s.requests(), func(r *request) bool { return r.phase.Load() == waiting })
}

// size is how many slots there are to be.
func (s *slots) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted
}

// runs says how many requests each slot has taken, the busiest first.
func (s *slots) runs() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs := make([]int64, 0, len(s.members))
	for member := range s.members {
		runs = append(runs, member.runs.Load())
	}
	slices.Sort(runs)
	slices.Reverse(runs)
	return runs
}
