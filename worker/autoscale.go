package worker

import (
	"fmt"
	"sync"
	"time"

	"github.com/apium/apium/internal/logline"
)

// Autoscale lets the number of slots follow the load (Celery's --autoscale).
type Autoscale struct {
	Max, Min int
	// KeepAlive is for how long no task must have come before slots go. Default 30 s.
	KeepAlive time.Duration
}

// valid tells whether the bounds can be.
func (a *Autoscale) valid() bool { return a.Min >= 0 && a.Max >= a.Min }

// autoscaleEvery is how often the load is looked at when no task comes in.
const autoscaleEvery = time.Second

// autoscaler adds slots as tasks come in, as many as there are tasks to run, and takes
// them away when it has been quiet for a while (celery/worker/autoscale.py).
type autoscaler struct {
	pool      *pool
	keepAlive time.Duration
	came      chan struct{} // capacity 1: a task has come in

	mu       sync.Mutex
	max, min int
	grown    time.Time // when slots were added last; zero: never
	received time.Time // when a task came in last
}

func newAutoscaler(p *pool, cfg Autoscale) *autoscaler {
	return &autoscaler{pool: p, keepAlive: cfg.KeepAlive, came: make(chan struct{}, 1), max: cfg.Max, min: cfg.Min}
}

// run follows the load until stop is closed.
func (a *autoscaler) run(stop <-chan struct{}) {
	ticker := time.NewTicker(autoscaleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-a.came:
		case <-ticker.C:
		}
		a.scale()
	}
}

// note says that a task has come in. A nil autoscaler does not care.
func (a *autoscaler) note() {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.received = time.Now()
	a.mu.Unlock()
	signal(a.came)
}

// scale changes the number of slots by what the load demands.
func (a *autoscaler) scale() {
	a.mu.Lock()
	defer a.mu.Unlock()
	load, size := a.pool.load(), a.pool.slots.size()
	if wanted := min(load, a.max); wanted > size {
		a.grown = time.Now()
		a.resizeLocked(wanted)
		return
	}
	if wanted := max(load, a.min, 1); wanted < size && a.quietLocked() {
		a.resizeLocked(wanted)
	}
}

// quietLocked tells whether nothing has happened for long enough. Where nothing ever has,
// there is nothing to take away.
func (a *autoscaler) quietLocked() bool {
	last := a.grown
	if a.received.After(last) {
		last = a.received
	}
	return !last.IsZero() && time.Since(last) > a.keepAlive
}

func (a *autoscaler) resizeLocked(slots int) {
	if n := slots - a.pool.slots.size(); n > 0 {
		a.pool.runner.log.Info(fmt.Sprintf("Scaling up %d processes.", n), logline.EventKey, "Scaling up", "count", n)
	} else if n < 0 {
		a.pool.runner.log.Info(fmt.Sprintf("Scaling down %d processes.", -n), logline.EventKey, "Scaling down", "count", -n)
	}
	a.pool.resize(slots, a.max)
}

// AutoscaleState is what an autoscaling worker is at.
type AutoscaleState struct {
	Max, Min int
	Current  int // slots
	Load     int // tasks that run or wait for a slot
}

// Autoscale returns the present state of the pool (Config.Pool); false if it does not scale.
func (o *Operations) Autoscale() (AutoscaleState, bool) {
	a := o.runner.main.autoscaler
	if a == nil {
		return AutoscaleState{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return AutoscaleState{Max: a.max, Min: a.min, Current: a.pool.slots.size(), Load: a.pool.load()}, true
}

// SetAutoscale changes the bounds of the pool, of which nil ones stay, and returns them. It
// reports false if it does not scale.
func (o *Operations) SetAutoscale(most, least *int) (AutoscaleState, bool) {
	a := o.runner.main.autoscaler
	if a == nil {
		return AutoscaleState{}, false
	}
	a.mu.Lock()
	size := a.pool.slots.size()
	if most != nil {
		a.max, size = *most, min(size, max(*most, 1))
	}
	if least != nil {
		a.min, size = *least, max(size, *least)
	}
	a.resizeLocked(size)
	a.mu.Unlock()
	return o.Autoscale()
}
