package worker

import (
	"container/heap"
	"slices"
	"sort"
	"sync"
	"time"
)

// holdCheck bounds how long hold sleeps, so that a wall clock set forward is noticed.
const holdCheck = time.Minute

// schedule holds the requests that wait until a time of theirs. The goroutine in run owns the
// timer; add and close may be called from any goroutine.
type schedule struct {
	due func(*request) // called in the goroutine of run

	mu       sync.Mutex
	requests dueHeap
	closed   bool
	earlier  chan struct{} // the next ETA has come nearer
}

func newSchedule(due func(*request)) *schedule {
	return &schedule{due: due, earlier: make(chan struct{}, 1)}
}

// add reports false after close.
func (s *schedule) add(r *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	heap.Push(&s.requests, r)
	if s.requests[0] == r {
		signal(s.earlier)
	}
	return true
}

// run passes on each request when it is due, until stop is closed.
func (s *schedule) run(stop <-chan struct{}) {
	timer := time.NewTimer(holdCheck)
	defer timer.Stop()
	for {
		ready, wait := s.pop(time.Now())
		for _, r := range ready {
			s.due(r)
		}
		timer.Reset(wait)
		select {
		case <-stop:
			return
		case <-s.earlier:
		case <-timer.C:
		}
	}
}

// pop removes what is due and says how long to wait for the next.
func (s *schedule) pop(now time.Time) (ready []*request, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.requests) > 0 {
		if wait := s.requests[0].due.Sub(now); wait > 0 {
			return ready, min(wait, holdCheck)
		}
		ready = append(ready, heap.Pop(&s.requests).(*request))
	}
	return ready, holdCheck
}

// hurry makes everything due by a time.
func (s *schedule) hurry(by time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r.due.After(by) {
			r.due = by
		}
	}
	heap.Init(&s.requests)
	signal(s.earlier)
}

// close returns the requests that were still held.
func (s *schedule) close() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.requests
	s.requests, s.closed = nil, true
	return left
}

func (s *schedule) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// list returns the held requests, the next first; at most limit of them, unless that is 0.
func (s *schedule) list(limit int) []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	sorted := slices.Clone(s.requests)
	sort.Sort(&sorted)
	if limit > 0 && len(sorted) > limit {
		sorted = sorted[:limit]
	}
	return sorted
}

// dueHeap orders requests by when they are due, and by arrival where that is the same.
type dueHeap []*request

func (h *dueHeap) Len() int { return len(*h) }
func (h *dueHeap) Less(i, j int) bool {
	a, b := (*h)[i], (*h)[j]
	if a.due.Equal(b.due) {
		return a.seq < b.seq
	}
	return a.due.Before(b.due)
}
func (h *dueHeap) Swap(i, j int) { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }
func (h *dueHeap) Push(x any)    { *h = append(*h, x.(*request)) }
func (h *dueHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return r
}
