package worker

import (
	"errors"
	"maps"
	"sync"
)

// Stats is what a worker is doing right now.
type Stats struct {
	Active    int // handlers running
	Reserved  int // claimed, waiting for a slot
	Scheduled int // claimed, waiting for their ETA
	Limited   int // claimed, waiting for their rate limit
	Leased    int // not acknowledged yet

	Abandoned      int   // handlers that still run although their task has ended
	AbandonedTotal int64 // how many there have been
}

// Stats may be called at any time, from any goroutine.
func (w *Worker) Stats() Stats {
	s := Stats{
		Active: len(w.slots.running()), Reserved: w.backlog.waiting(), Scheduled: w.schedule.len(), Leased: w.leases.len(),
		Abandoned: int(w.slots.abandoned.Load()), AbandonedTotal: w.slots.abandonedTotal.Load(),
	}
	w.eachLimiter(func(l *limiter) { s.Limited += l.waiting() })
	return s
}

// Ready returns nil while the worker claims messages, and else why it does not.
// It does not tell whether the broker can be reached.
func (w *Worker) Ready() error {
	switch {
	case w.stopping.Load():
		return errors.New("shutting down")
	case !w.consuming.Load():
		return errors.New("not started")
	}
	return nil
}

// counts says how many runs of each task the worker has started.
type counts struct {
	mu     sync.Mutex
	byName map[string]int64
	all    int64
}

func (c *counts) init() { c.byName = map[string]int64{} }

func (c *counts) start(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byName[name]++
	c.all++
}

// Totals returns how many runs the worker has started, of each task and of all.
func (w *Worker) Totals() (byName map[string]int64, all int64) {
	w.counts.mu.Lock()
	defer w.counts.mu.Unlock()
	return maps.Clone(w.counts.byName), w.counts.all
}
