package python

import (
	"context"
	"sync"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/worker"
)

// slot is a place in which one task runs at a time.
type slot struct {
	seat  *seat
	leave sync.Once

	mu    sync.Mutex
	child *child // that runs a task for this slot; nil: none does
	job   uint64
	sent  bool // the child has been sent the job
	ended bool // it is to be told to stop it
}

// Ready implements worker.Slot.
func (s *slot) Ready(ctx context.Context) bool { return s.seat.ready(ctx) }

// Run implements worker.Slot. There is no message with which a child accepts a job: what is
// written to one that waits for it has begun. Should the child have ended before it has read
// the job, another child gets it.
func (s *slot) Run(ctx context.Context, run *worker.Run) worker.Outcome {
	begun := false
	for {
		c, _ := s.seat.serving()
		if c == nil {
			return worker.NotBegun
		}
		job, answers, ok := c.take()
		if !ok && !begun {
			return worker.NotBegun
		}
		if ok {
			s.runs(c, job)
			a := s.runIn(ctx, c, job, answers, run, &begun)
			s.runs(nil, 0)
			if a == nil {
				return worker.NotBegun
			}
			if !a.lost || a.begun || ctx.Err() != nil { // it was terminated before it was read
				return a.outcome(c)
			}
		}
		if !s.seat.ready(ctx) {
			return worker.Outcome{Err: &worker.LostError{Status: "there is no process to run it"}}
		}
	}
}

// runIn has a child run the task, and returns its answer; nil: the task must not begin.
func (s *slot) runIn(ctx context.Context, c *child, job uint64, answers <-chan answer, run *worker.Run, begun *bool) *answer {
	var received protocol.Received
	run.Message().Read(&received)
	f, err := messageFrame(job, &received, run.Shadowed())
	if !*begun {
		if !run.Begin(ctx, c.pid()) {
			c.giveUp(job)
			return nil
		}
		*begun = true
	}
	if err != nil {
		c.giveUp(job)
		return &answer{err: err}
	}
	sent := c.send(&f)
	s.hasSent()
	a := <-answers
	a.begun = a.begun && sent
	return &a
}

func (s *slot) runs(c *child, job uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child, s.job, s.sent, s.ended = c, job, false, false
}

// hasSent is called when the child has been sent the job.
func (s *slot) hasSent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = true
	s.endLocked()
}

// endLocked has a greenlet stopped, once the child knows of it.
func (s *slot) endLocked() {
	if s.ended && s.sent {
		s.child.send(&frame{job: s.job, head: []byte(`{"stop": true}`)})
	}
}

// killAfter is how long a child has to end by itself after SIGTERM, as in Celery.
const killAfter = 100 * time.Millisecond

// Stop implements worker.Slot.
func (s *slot) Stop(_ *worker.Run, how worker.Stop) (patience time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock() // the child gets no other job meanwhile
	c, job := s.child, s.job
	switch {
	case c == nil:
	case how.Strength == worker.StopSoft:
		c.interrupt(job)
	case s.seat.pool.kind.green:
		s.ended = true
		s.endLocked()
	case s.seat.pool.kind.shared: // others run in this process, too
		return 0
	case how.Strength == worker.StopSignal:
		c.stop(how.Signal, job)
	default:
		c.endsOf(worker.ProcessTimeLimit)
		s.seat.pool.census.isKilled()
		s.Close() // the worker has another slot instead
		c.retire()
		c.kill(sigTerm)
		time.AfterFunc(killAfter, func() {
			select {
			case <-c.exited:
			default:
				c.kill(sigKill)
			}
		})
	}
	return worker.Patient
}

// Trace implements worker.Slot.
func (s *slot) Trace() string { return "" }

// Close implements worker.Slot.
func (s *slot) Close() { s.leave.Do(s.seat.leave) }
