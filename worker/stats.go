package worker

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// Stats is what a worker is doing right now.
type Stats struct {
	Active    int // handlers running
	Reserved  int // claimed, waiting for a slot
	Scheduled int // claimed, waiting for their ETA
	Limited   int // claimed, waiting for their rate limit
	Kept      int // claimed, of unknown tasks, to be given to others in a moment
	Leased    int // not acknowledged yet
	Settling  int // starts and outcomes of tasks that are not written yet

	Abandoned      int   // handlers that still run although their task has ended
	AbandonedTotal int64 // how many there have been
}

// Stats may be called at any time, from any goroutine.
func (w *Worker) Stats() Stats {
	abandoned, abandonedTotal := w.runner.abandoned()
	s := Stats{
		Active: len(w.runner.active()), Reserved: w.runner.waiting(), Scheduled: w.schedule.memory.len(), Limited: w.limits.waiting(),
		Kept: w.handover.kept.len(), Leased: w.leases.len(),
		Abandoned: int(abandoned), AbandonedTotal: abandonedTotal,
	}
	s.Settling = int(w.settler.unwritten.Load()) // after Active: what has left there is here
	return s
}

// Hostname is the node name.
func (w *Worker) Hostname() string { return w.cfg.Hostname }

// Uptime is how long the worker has existed.
func (w *Worker) Uptime() time.Duration { return time.Since(w.made) }

// Concurrency is how many tasks may run at the same time in the pool (Config.Pool).
func (w *Worker) Concurrency() int { return w.runner.main.slots.size() }

// Queues returns the queues that are consumed now; nil if the consumer cannot tell.
func (w *Worker) Queues() []broker.Queue {
	if w.able.Queues == nil {
		return nil
	}
	return w.able.Queues.Queues()
}

// Decoder returns what reads messages as the worker's configuration has it.
func (w *Worker) Decoder() *protocol.Decoder { return &w.decoder }

// Serializer is what the worker writes messages with besides JSON; nil: nothing.
func (w *Worker) Serializer() protocol.Serializer { return w.maker.Format().Serializer }

// Ready returns nil while the worker claims messages, and else why it does not.
// It does not tell whether the broker can be reached.
func (w *Worker) Ready() error {
	switch {
	case w.stopping.Load():
		return errors.New("shutting down")
	case !w.intake.consuming.Load():
		return errors.New("not started")
	}
	return nil
}

// counts says how many runs of each task the worker has started. As in Celery, the names
// are those that tasks are shown by.
type counts struct {
	mu     sync.Mutex
	byName map[string]int64
	all    int64
}

// countedNames bounds the names that are told apart.
const countedNames = 1000

func (c *counts) init() { c.byName = map[string]int64{} }

func (c *counts) start(t *protocol.Task) {
	name := t.DisplayName()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.byName[name]; !known && len(c.byName) >= countedNames {
		name = t.Name // shadow names come from outside, and there may be any number
	}
	c.byName[name]++
	c.all++
}

// Totals returns how many runs the worker has started, of each task, by its shadow name
// if it has one, and of all.
func (w *Worker) Totals() (byName map[string]int64, all int64) {
	w.counts.mu.Lock()
	defer w.counts.mu.Unlock()
	return maps.Clone(w.counts.byName), w.counts.all
}
