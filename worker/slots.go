package worker

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// slots are the goroutines that run handlers. Their number can change, and one whose
// handler is not waited for any more is replaced.
type slots struct {
	w *Worker

	mu      sync.Mutex
	members map[*slot]bool // those that count; an abandoned one does not
	wanted  int
	closed  bool
	ended   sync.WaitGroup // the members

	abandoned      atomic.Int64 // handlers that still run although nobody waits for them
	abandonedTotal atomic.Int64
}

// slot is one goroutine that runs handlers, one after the other.
type slot struct {
	current   atomic.Pointer[request] // nil while it is idle
	goroutine []byte                  // as it is called in a dump of all stacks
	runs      atomic.Int64            // how many requests it has taken
}

func newSlots(w *Worker) *slots { return &slots{w: w, members: map[*slot]bool{}} }

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
		s.ended.Add(1)
		go s.run(member)
	}
}

// run takes requests until there are none, the slot is one too many, or it was abandoned.
func (s *slots) run(member *slot) {
	member.goroutine = goroutineName()
	defer s.died(member)
	enough := func() bool { return s.leave(member) }
	for {
		r, ok := s.w.backlog.take(enough)
		if !ok {
			break
		}
		member.runs.Add(1)
		if stay := s.w.execute(member, r); !stay || enough() {
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
		s.ended.Done()
	}
}

// replace lets go of a slot whose handler does not return, and starts another.
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
	member.current.Store(nil)
	if r.finish(returned) {
		s.w.lostHandler(r)
	} else {
		s.abandoned.Add(-1)
	}
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

// running returns the requests whose handlers run and are waited for.
func (s *slots) running() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var requests []*request
	for member := range s.members {
		if r := member.current.Load(); r != nil {
			requests = append(requests, r)
		}
	}
	return requests
}

// busy tells whether any handler that is waited for runs, and does not itself wait for
// broker or backend.
func (s *slots) busy() bool {
	return slices.ContainsFunc(s.running(), func(r *request) bool { return r.phase.Load() == running && r.stuck.Load() == 0 })
}

// of returns the slot that runs a request.
func (s *slots) of(r *request) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	for member := range s.members {
		if member.current.Load() == r {
			return member
		}
	}
	return nil
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

// goroutineName is how the runtime calls this goroutine: "goroutine 12 ".
func goroutineName() []byte {
	var buf [32]byte
	head := buf[:runtime.Stack(buf[:], false)]
	if i := bytes.IndexByte(head, '['); i > 0 {
		return bytes.Clone(head[:i])
	}
	return nil
}

// stack returns the present stack of a slot's goroutine.
func (member *slot) stack() string {
	for size := 1 << 20; ; size *= 2 {
		buf := make([]byte, size)
		n := runtime.Stack(buf, true)
		if n == size && size < 64<<20 {
			continue
		}
		for trace := range bytes.SplitSeq(buf[:n], []byte("\n\n")) {
			if bytes.HasPrefix(trace, member.goroutine) {
				return string(trace)
			}
		}
		return fmt.Sprintf("%s has ended", member.goroutine)
	}
}
