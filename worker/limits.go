package worker

import (
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// limitHeld is how many requests of a rate-limited task wait in memory, or more: what
	// runs within limitHeldFor, which is longer than parked ones are looked ahead for. Those
	// beyond it are parked until about their turn, so that a long queue of one task neither
	// fills the memory nor keeps other tasks from being claimed.
	limitHeld    = 1000
	limitHeldFor = parkHorizon + time.Second
	// limitParked is how long they are parked at most, so that a rate that is raised takes
	// effect; longer, limitParkedEach for every request, if so many wait that looking after
	// them would be a burden.
	limitParked     = time.Minute
	limitParkedEach = time.Millisecond
)

// limits has the requests of rate-limited tasks wait for their turn, beside the backlog: they
// keep neither a slot nor room for others.
type limits struct {
	disabled bool           // nothing is limited (worker_disable_rate_limits)
	parks    func() bool    // tells whether requests can be parked
	start    func(*request) // takes a request that has its turn
	park     func(*request) // takes one that has not, for long
	giveBack func(*request) // takes one that comes after close

	mu       sync.Mutex
	limiters map[string]*limiter // by task
}

// wait has a request of a limited task wait for its turn.
func (ls *limits) wait(r *request) {
	switch parkUntil, open := r.task.limiter.Load().add(r); {
	case !open:
		ls.giveBack(r)
	case !parkUntil.IsZero():
		r.due = parkUntil
		ls.park(r)
	}
}

// set changes the rate of a task, in requests per second; 0 lifts the limit. What waits for the
// task's turn goes on at this rate, also if it came when the task had another registration.
func (ls *limits) set(t *taskConfig, rate float64) {
	if ls.disabled {
		return
	}
	if l := ls.of(t.entry.Name, rate); l != nil {
		t.limiter.Store(l)
		l.setRate(rate)
	}
}

// of returns what limits a task; nil if it is not and never was limited.
func (ls *limits) of(name string, rate float64) *limiter {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.limiters[name]
	if l == nil && rate > 0 {
		l = newLimiter(ls, rate)
		if ls.limiters == nil {
			ls.limiters = map[string]*limiter{}
		}
		ls.limiters[name] = l
	}
	return l
}

// all returns what limits the tasks that are limited, or were.
func (ls *limits) all() []*limiter {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.Collect(maps.Values(ls.limiters))
}

// waiting is the number of requests that wait for their turn.
func (ls *limits) waiting() (n int) {
	for _, l := range ls.all() {
		n += l.waiting()
	}
	return n
}

// list returns the requests that wait for their turn.
func (ls *limits) list() (waiting []*request) {
	for _, l := range ls.all() {
		waiting = append(waiting, l.list()...)
	}
	return waiting
}

// close returns the requests that still wait.
func (ls *limits) close() (left []*request) {
	for _, l := range ls.all() {
		left = append(left, l.close()...)
	}
	return left
}

// limiter starts the requests of one task at its rate, in the order in which they came
// (roughly so for those that were parked). It is Celery's token bucket
// (kombu.utils.limits.TokenBucket, of kombu 5.7): one token at most, filled at the rate.
type limiter struct {
	of *limits

	mu       sync.Mutex
	rate     float64 // tokens per second; 0: no limit any more
	tokens   float64
	filled   time.Time // when tokens was worked out
	queue    []*request
	timer    *time.Timer // runs while requests wait
	parkedTo time.Time   // the turn of the last request that was parked
	closed   bool
}

func newLimiter(of *limits, rate float64) *limiter {
	return &limiter{of: of, rate: rate, tokens: 1, filled: time.Now()}
}

// add queues a request, or says until when it is to be parked. It reports false after close.
func (l *limiter) add(r *request) (parkUntil time.Time, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return time.Time{}, false
	}
	now := time.Now()
	// One that was parked has its turn; others queue up behind those that still are.
	most := max(limitHeld, int(l.rate*limitHeldFor.Seconds()))
	if full := len(l.queue) >= most || !r.unparked && l.parkedTo.After(now); full && l.rate > 0 && l.of.parks() {
		return l.parkLocked(r, now), true
	}
	l.queue = append(l.queue, r)
	l.releaseLocked()
	return time.Time{}, true
}

// parkLocked says until when to park a request.
func (l *limiter) parkLocked(r *request, now time.Time) time.Time {
	turn := now.Add(l.lastsLocked(float64(len(l.queue))))
	if !r.unparked {
		if l.parkedTo.After(turn) {
			turn = l.parkedTo
		}
		turn = turn.Add(l.lastsLocked(1))
		l.parkedTo = turn
	}
	ahead := turn.Sub(now).Seconds() * l.rate
	latest := now.Add(max(limitParked, time.Duration(ahead)*limitParkedEach))
	if turn.After(latest) {
		return latest
	}
	return turn
}

// lastsLocked is how long it takes to get so many tokens: a day at most, for what would
// not fit a Duration.
func (l *limiter) lastsLocked(tokens float64) time.Duration {
	const day = 24 * time.Hour
	return time.Duration(min(tokens/l.rate, day.Seconds()) * float64(time.Second))
}

// releaseLocked starts what there are tokens for, and sets the timer for the next.
func (l *limiter) releaseLocked() {
	for len(l.queue) > 0 && l.takeLocked(time.Now()) {
		r := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		r.limited = true
		l.of.start(r)
	}
	if len(l.queue) == 0 || l.timer != nil {
		return
	}
	// Rounded up: a timer that fires a moment too early finds no token, again and again.
	l.timer = time.AfterFunc(l.lastsLocked(max(1-l.tokens, 0))+time.Nanosecond, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.timer = nil; !l.closed {
			l.releaseLocked()
		}
	})
}

// takeLocked takes a token if there is one.
func (l *limiter) takeLocked(now time.Time) bool {
	if l.rate == 0 {
		return true
	}
	l.tokens = min(1, l.tokens+l.rate*now.Sub(l.filled).Seconds())
	l.filled = now
	const nearly = 1 - 1e-9 // a timer that fires on time must find its token
	if l.tokens < nearly {
		return false
	}
	l.tokens--
	return true
}

// setRate changes the rate; 0 lifts the limit. As in Celery, which makes a new bucket, one
// request may run at once.
func (l *limiter) setRate(rate float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.rate, l.tokens, l.filled, l.parkedTo = rate, 1, time.Now(), time.Time{}
	if !l.closed {
		l.releaseLocked()
	}
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
