package worker

import "errors"

// Stats is what a worker is doing right now.
type Stats struct {
	Active    int // handlers running
	Reserved  int // claimed, waiting for a slot
	Scheduled int // claimed, waiting for their ETA
	Leased    int // not acknowledged yet
}

// Stats may be called at any time, from any goroutine.
func (w *Worker) Stats() Stats {
	s := Stats{Reserved: w.backlog.waiting(), Scheduled: w.schedule.len(), Leased: w.leases.len()}
	for i := range w.running {
		if w.running[i].Load() != nil {
			s.Active++
		}
	}
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
