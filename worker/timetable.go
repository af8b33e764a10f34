package worker

import (
	"container/heap"
	"slices"
	"sort"
	"sync"
	"time"
)

// clockCheck bounds how long a timetable sleeps, so that a wall clock set forward is noticed.
const clockCheck = time.Minute

// timetable has requests wait in memory, each until a time of its own. The goroutine in run
// owns the timer; the other methods may be called from any goroutine.
type timetable struct {
	due func(*request) // called in the goroutine of run

	mu       sync.Mutex
	requests dueHeap
	closed   bool
	earlier  chan struct{} // the next ETA has come nearer
}

func newTimetable(due func(*request)) *timetable {
	return &timetable{due: due, earlier: make(chan struct{}, 1)}
}

// add reports false after close.
func (t *timetable) add(r *request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	heap.Push(&t.requests, r)
	if t.requests[0] == r {
		signal(t.earlier)
	}
	return true
}

// run passes on each request when it is due, until stop is closed.
func (t *timetable) run(stop <-chan struct{}) {
	timer := time.NewTimer(clockCheck)
	defer timer.Stop()
	for {
		ready, wait := t.pop(time.Now())
		for _, r := range ready {
			t.due(r)
		}
		if len(ready) == popMost {
			continue
		}
		timer.Reset(wait)
		select {
		case <-stop:
			return
		case <-t.earlier:
		case <-timer.C:
		}
	}
}

// popMost is how many requests are passed on together: should 100,000 be due at once, the first need not wait for all
// others to be taken out.
const popMost = 256

// pop removes what is due, popMost requests at most, and says how long to wait for the next.
func (t *timetable) pop(now time.Time) (ready []*request, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.requests) > 0 && len(ready) < popMost {
		if wait := t.requests[0].due.Sub(now); wait > 0 {
			return ready, min(wait, clockCheck)
		}
		ready = append(ready, heap.Pop(&t.requests).(*request))
	}
	return ready, clockCheck
}

// hurry makes everything due by a time.
func (t *timetable) hurry(by time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.requests {
		if r.due.After(by) {
			r.due = by
		}
	}
	heap.Init(&t.requests)
	signal(t.earlier)
}

// close returns the requests that still wait.
func (t *timetable) close() []*request {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := t.requests
	t.requests, t.closed = nil, true
	return left
}

func (t *timetable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.requests)
}

// list returns the requests that wait, the next first; at most limit of them, unless that is 0.
func (t *timetable) list(limit int) []*request {
	t.mu.Lock()
	defer t.mu.Unlock()
	sorted := slices.Clone(t.requests)
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
