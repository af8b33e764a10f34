package worker

import (
	"slices"
	"sync"
	"time"
)

// limitHeld is how many requests of a rate-limited task wait in memory. Those beyond it
// are parked until about their turn, so that a long queue of one task neither fills the
// memory nor keeps other tasks from being claimed.
const limitHeld = 1000

// limiter starts the requests of one task at its rate, in the order in which they came.
// It is Celery's token bucket (kombu.utils.limits.TokenBucket, of kombu 5.7): one token at
// most, filled at the rate.
type limiter struct {
	w *Worker

	mu     sync.Mutex
	rate   float64 // tokens per second
	tokens float64
	filled time.Time // when tokens was worked out
	queue  []*request
	timer  *time.Timer // runs while requests wait
	closed bool
}

func newLimiter(w *Worker, rate float64) *limiter {
	return &limiter{w: w, rate: rate, tokens: 1, filled: time.Now()}
}

// limit has a request wait for its turn.
func (w *Worker) limit(r *request) {
	l := r.task.limiter.Load()
	if l == nil { // lifted meanwhile
		w.pass(r, run)
		return
	}
	switch accepted, turn := l.add(r); {
	case accepted:
	case turn.IsZero():
		w.unstarted.add(r)
	case w.canPark():
		r.due = turn
		w.settle(settlement{req: r, fate: park})
	default:
		l.force(r)
	}
}

// add queues a request. It is not accepted after close, nor when many wait already: then
// turn is about when it would run.
func (l *limiter) add(r *request) (accepted bool, turn time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, time.Time{}
	}
	if n := len(l.queue); n >= limitHeld {
		return false, time.Now().Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	}
	l.queue = append(l.queue, r)
	l.releaseLocked()
	return true, time.Time{}
}

// force queues a request whatever waits already.
func (l *limiter) force(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, r)
	l.releaseLocked()
}

// releaseLocked starts what there are tokens for, and sets the timer for the next.
func (l *limiter) releaseLocked() {
	for len(l.queue) > 0 && l.takeLocked(time.Now()) {
		r := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		r.limited = true
		if !l.w.backlog.push(r) {
			l.w.unstarted.add(r)
		}
	}
	if len(l.queue) == 0 || l.timer != nil {
		return
	}
	wait := time.Duration(max(1-l.tokens, 0) / l.rate * float64(time.Second))
	l.timer = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.timer = nil; !l.closed {
			l.releaseLocked()
		}
	})
}

// takeLocked takes a token if there is one.
func (l *limiter) takeLocked(now time.Time) bool {
	l.tokens = min(1, l.tokens+l.rate*now.Sub(l.filled).Seconds())
	l.filled = now
	const nearly = 1 - 1e-9 // a timer that fires on time must find its token
	if l.tokens < nearly {
		return false
	}
	l.tokens--
	return true
}

// setRate changes the rate. 0 lifts the limit, and everything that waits may run.
func (l *limiter) setRate(rate float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if rate > 0 {
		l.rate, l.tokens, l.filled = rate, 1, time.Now()
		l.releaseLocked()
		return
	}
	for _, r := range l.queue {
		r.limited = true
		if !l.w.backlog.push(r) {
			l.w.unstarted.add(r)
		}
	}
	l.queue = nil
}

// close returns the requests that still wait.
func (l *limiter) close() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	left := l.queue
	l.queue, l.closed = nil, true
	return left
}

// waiting is the number of requests that wait for their turn.
func (l *limiter) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// list returns the requests that wait for their turn.
func (l *limiter) list() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.queue)
}

// eachLimiter calls f for the limiter of every task that has one.
func (w *Worker) eachLimiter(f func(*limiter)) {
	w.tasks.byName.Range(func(_, t any) bool {
		if l := t.(*taskConfig).limiter.Load(); l != nil {
			f(l)
		}
		return true
	})
}
