package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
)

// ack says when, within a settlement, the message is acknowledged.
type ack int

const (
	none  ack = iota
	early     // before the record is stored
	late      // after it is confirmed
)

// settlement is what is to be written for a request at one point of its life: when
// its handler starts, and when it has an outcome.
type settlement struct {
	req    *request
	ack    ack
	record []byte   // nil: nothing is stored
	end    *outcome // nil: the task goes on
}

// outcome is how a task ended.
type outcome struct {
	kind      Kind
	result    []byte // JSON, of a success
	exception *protocol.Exception
	runtime   time.Duration
	returned  time.Time // when the handler was done
}

// ackAfter is when a request whose handler has run is acknowledged.
func (r *request) ackAfter() ack {
	if r.acksLate {
		return late
	}
	return none
}

const (
	settleGroup   = 512 // settlements in one group, at most
	settleBacklog = 2 * settleGroup
)

// settle hands over to the settler. It blocks while the settler is far behind,
// which is how an unreachable Redis stops the worker from running more tasks.
//
// After a cold shutdown nobody settles any more: what a handler still brings is dropped.
func (w *Worker) settle(s settlement) {
	w.settleMu.RLock()
	defer w.settleMu.RUnlock()
	if !w.settleClosed {
		w.settlements <- s
	}
}

func (w *Worker) closeSettlements() {
	w.settleMu.Lock()
	defer w.settleMu.Unlock()
	w.settleClosed = true
	close(w.settlements)
}

// settleLoop writes what is to be written, in the order in which it came in, for
// as many requests at a time as are waiting: the busier the worker, the fewer
// round trips per task. It ends when the channel is closed and empty.
func (w *Worker) settleLoop(ctx context.Context) {
	group := make([]settlement, 0, settleGroup)
	for s := range w.settlements {
		group = append(group[:0], s)
		for more := true; more && len(group) < settleGroup; {
			select {
			case s, open := <-w.settlements:
				if more = open; open {
					group = append(group, s)
				}
			default:
				more = false
			}
		}
		w.settleTogether(ctx, group)
		clear(group)
	}
}

// settleTogether is the only place that acknowledges messages and stores results.
// The order is Celery's: early acknowledgements, results, late acknowledgements.
// A message is acknowledged late only when its result is confirmed.
func (w *Worker) settleTogether(ctx context.Context, group []settlement) {
	w.acknowledge(ctx, group, early)
	w.store(ctx, group)
	w.acknowledge(ctx, group, late)
	for i := range group {
		if group[i].end != nil {
			w.announce(&group[i])
		}
	}
}

// acknowledge acks the messages of a group that are due at this point. The leases
// are forgotten first: a renewal that overlaps must not take an acknowledged
// message for a lost one.
func (w *Worker) acknowledge(ctx context.Context, group []settlement, when ack) {
	tags, acked := w.tags[:0], w.acked[:0]
	for i := range group {
		r := group[i].req
		if group[i].ack == when && !r.lost.Load() {
			tags, acked = append(tags, r.tag), append(acked, r)
		}
	}
	if len(tags) == 0 {
		return
	}
	w.tags, w.acked = tags, acked
	w.leases.remove(acked...)
	first := true
	w.persist(ctx, "acknowledge messages", func() error {
		lost, err := w.cfg.Consumer.Ack(ctx, tags...)
		if err == nil && first {
			for _, tag := range lost {
				w.leaseLost(acked[slices.Index(tags, tag)])
			}
		}
		first = false // after a failed attempt, our own ack may have removed the tag
		return err
	})
	clear(acked)
}

// store writes the group's records. A failure of a task that lost its lease is not
// stored: it may be due to that loss, and whoever runs the task now will answer.
func (w *Worker) store(ctx context.Context, group []settlement) {
	records := w.records[:0]
	for i := range group {
		s := &group[i]
		if s.record == nil || s.req.lost.Load() && (s.end == nil || s.end.kind != Succeeded) {
			continue
		}
		records = append(records, backend.Record{TaskID: s.req.ID, Document: s.record})
	}
	if len(records) == 0 {
		return
	}
	w.records = records
	w.persist(ctx, "store results", func() error {
		err := w.cfg.Store.Store(ctx, records...)
		if refused := refusedRecords(err); refused != nil {
			for _, e := range refused {
				w.log.Error("Cannot store the result of task "+e.TaskID+": "+e.Err.Error(), "task_id", e.TaskID)
			}
			return nil
		}
		return err
	})
	clear(records)
}

// refusedRecords returns the refusals if they are all that went wrong.
func refusedRecords(err error) []*backend.RecordError {
	var one *backend.RecordError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*backend.RecordError
		for _, e := range joined.Unwrap() {
			if !errors.As(e, &one) {
				return nil
			}
			all = append(all, one)
		}
		return all
	}
	if errors.As(err, &one) {
		return []*backend.RecordError{one}
	}
	return nil
}

const (
	retryFirst = 50 * time.Millisecond
	retryLast  = 5 * time.Second
)

// persist repeats op until it succeeds or ctx is done, with exponential backoff
// and jitter. What is unsettled when ctx ends stays in the broker, where peers
// find it; persist then reports false.
func (w *Worker) persist(ctx context.Context, what string, op func() error) bool {
	wait := retryFirst
	for attempt := 1; ; attempt++ {
		err := op()
		if err == nil {
			if attempt > 1 {
				w.log.Info("Managed to " + what + " again")
			}
			return true
		}
		if ctx.Err() != nil {
			w.log.Error("Gave up trying to " + what + ": " + err.Error())
			return false
		}
		if attempt == 1 {
			w.log.Error("Cannot " + what + ": " + err.Error() + ". Trying again until it works")
		}
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(wait) + wait/2): //nolint:gosec // jitter
		}
		wait = min(2*wait, retryLast)
	}
}

// announce logs and reports the end of a task.
func (w *Worker) announce(s *settlement) {
	e := s.req.event(s.end.kind)
	e.Runtime = s.end.runtime
	e.Settle = time.Since(s.end.returned)
	switch s.end.kind {
	case Succeeded:
		w.logSucceeded(s.req, s.end)
	case Failed:
		e.Exception = s.end.exception.Type
		if s.req.entry != nil {
			w.logFailed(s.req, s.end.exception)
		}
	default: // was logged when it was decided
	}
	w.observe(e)
}
