package python

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/worker"
)

// seat is a place for a child. Its goroutine sees to it that there is one, of the fork server
// that is the current one: a new child comes before the old one retires.
type seat struct {
	pool  *pool
	index int
	left  chan struct{} // closed when the seat is not needed any more

	mu      sync.Mutex
	slots   int           // that use it
	child   *child        // the last that was up; nil: none was yet
	changed chan struct{} // closed, and replaced, when child changes
}

// keep has a child in the seat until it is left.
func (s *seat) keep() {
	defer s.pool.free(s)
	var (
		current  *child  // nil: there is none, or it takes no jobs any more
		had      *server // of the last child that was up
		failures backoff
		reason   = s.pool.census.arrival()
	)
	for !s.isLeft() {
		server, changed := s.pool.app.keeper.current()
		if current == nil || current.server != server {
			var patience time.Duration
			if server == had {
				patience = server.manifest.aliveTimeout() << min(failures, 10)
			}
			next, err := s.raise(server, patience)
			if err != nil {
				s.cannot(err, &failures, changed)
				continue
			}
			s.set(next)
			if current != nil {
				reason = worker.ProcessRestart
				current.endsOf(reason)
				current.retire()
			}
			current, had = next, server
			s.pool.seated(current, reason)
		}
		since := time.Now()
		select {
		case <-current.retired:
			reason = current.why()
			if current.wasUseful() {
				failures = 0
			} else if !failures.wait(time.Since(since), s.left) {
				continue
			}
			current = nil
		case <-changed:
		case <-s.left:
		}
	}
	if current != nil {
		current.endsOf(worker.ProcessStop)
		current.retire()
		<-current.exited // its index is free then
	}
}

// cannot says why there is no child, and waits before the next try.
func (s *seat) cannot(err error, failures *backoff, changed <-chan struct{}) {
	switch {
	case s.isLeft():
	case errors.Is(err, errGone):
		select {
		case <-changed:
		case <-s.left:
		}
	default:
		s.pool.app.log.Load().Error("Cannot start a child: "+err.Error(), logline.EventKey, "Cannot start a child", "error", err)
		failures.wait(0, s.left)
	}
}

// raise returns a child that is up, within patience. 0: whenever that may be, as in Celery when a worker starts, since what
// the app does in new processes may take long. A child that replaces another has as long as the settings say; if it is too slow the
// next has twice as long, or there might never be one.
func (s *seat) raise(server *server, patience time.Duration) (*child, error) {
	c, err := s.pool.spawn(server, s.index)
	if err != nil {
		return nil, err
	}
	var late <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-c.up:
		return c, nil
	case <-c.exited:
		if c.exit.why != "" {
			return nil, errors.New(c.exit.why)
		}
		if c.exit.orphaned {
			return nil, errGone
		}
		return nil, fmt.Errorf("it ended before it was up: %s", statusText(c.exit.code))
	case <-late:
		c.kill(sigKill)
		<-c.exited
		return nil, fmt.Errorf("it was not up after %v (worker_proc_alive_timeout)", patience)
	case <-s.left:
		c.retire()
		select {
		case <-c.exited:
		case <-time.After(server.manifest.aliveTimeout()):
			c.kill(sigKill) // it has no task
			<-c.exited
		}
		return nil, errGone
	}
}

// ready returns when the child takes jobs, or reports false when ctx is done.
func (s *seat) ready(ctx context.Context) bool {
	for {
		c, changed := s.serving()
		if c != nil && !c.isRetired() {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// serving returns the last child that was up, or nil, and a channel that is closed when it is
// another.
func (s *seat) serving() (c *child, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child, s.changed
}

func (s *seat) set(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child = c
	close(s.changed)
	s.changed = make(chan struct{})
}

// serves waits until the seat has a child of a fork server, or needs none any more.
func (s *seat) serves(ctx context.Context, server *server) error {
	for {
		c, changed := s.serving()
		if c != nil && c.server == server {
			return nil
		}
		select {
		case <-changed:
		case <-s.left:
			return nil
		case <-server.gone:
			return errGone
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// join adds a slot that uses the seat. It reports false if the seat was left.
func (s *seat) join() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == 0 {
		return false
	}
	s.slots++
	return true
}

// leave is called when a slot does not use the seat any more.
func (s *seat) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots--; s.slots == 0 {
		close(s.left)
	}
}

func (s *seat) isLeft() bool {
	select {
	case <-s.left:
		return true
	default:
		return false
	}
}
