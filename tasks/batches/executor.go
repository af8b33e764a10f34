package batches

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/worker"
)

// executor runs the tasks of one name: a goroutine for each, in which it waits, and is run.
type executor struct {
	worker.Executor // that of Go handlers
	gathering       *gathering
	watching        sync.Once
}

// NewSlot implements worker.Executor.
func (e *executor) NewSlot() worker.Slot { return &slot{Slot: e.Executor.NewSlot(), executor: e} }

// slot is the place of a task from its arrival until it is done.
type slot struct {
	worker.Slot
	executor *executor
	current  atomic.Pointer[current]
}

// current is what a slot runs.
type current struct {
	run    *worker.Run
	member *member
}

// Ready implements worker.Slot. ctx is done when the worker ends.
func (s *slot) Ready(ctx context.Context) bool {
	s.executor.watching.Do(func() { context.AfterFunc(ctx, s.executor.gathering.hurry) })
	return true
}

var processID = os.Getpid()

// Run implements worker.Slot.
func (s *slot) Run(ctx context.Context, run *worker.Run) (o worker.Outcome) {
	m := s.executor.gathering.join(ctx)
	if m == nil {
		return worker.NotBegun
	}
	s.current.Store(&current{run, m})
	defer func() {
		s.current.Store(nil)
		m.leave(o.Err)
	}()
	inside := context.WithValue(ctx, memberKey{}, m)
	if ctx.Err() != nil || !run.StillWanted() || !run.Begin(inside, processID) {
		return worker.NotBegun
	}
	m.watch()
	return run.Call(inside)
}

// Stop implements worker.Slot. Who calls the handler cannot be stopped before that returns; the others can.
func (s *slot) Stop(run *worker.Run, how worker.Stop) (patience time.Duration) {
	if c := s.current.Load(); c != nil && c.run == run && how.Strength != worker.StopSoft {
		c.member.release()
	}
	return s.Slot.Stop(run, how)
}

type memberKey struct{}

// memberOf returns what a run is to do in its batch; nil: it belongs to none, as another task calls it.
func memberOf(ctx context.Context) *member {
	m, _ := ctx.Value(memberKey{}).(*member)
	if m == nil {
		return nil
	}
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	if m.arrived {
		return nil
	}
	return m
}
