package python

import (
	"maps"
	"sync"

	"github.com/apium/apium/worker"
)

// census counts the children that have had a seat.
type census struct {
	mu             sync.Mutex
	started, ended map[worker.ProcessCause]int64
	vacant         int // seats that were left because a child was killed: others are taken instead
}

// arrival is why a new seat needs a child.
func (c *census) arrival() worker.ProcessCause {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.vacant == 0 {
		return worker.ProcessStart
	}
	c.vacant--
	return worker.ProcessTimeLimit
}

// hasStarted counts a child that has taken a seat.
func (c *census) hasStarted(reason worker.ProcessCause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started == nil {
		c.started, c.ended = map[worker.ProcessCause]int64{}, map[worker.ProcessCause]int64{}
	}
	c.started[reason]++
}

// seated counts a child that has taken a seat. It may have ended already.
func (p *pool) seated(c *child, reason worker.ProcessCause) {
	p.census.hasStarted(reason)
	c.mu.Lock()
	c.seated = true
	ended := c.reported
	c.mu.Unlock()
	if ended {
		p.census.hasEnded(c.why())
	}
}

// hasEnded counts one that had a seat.
func (c *census) hasEnded(cause worker.ProcessCause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[cause]++
}

// isKilled notes that a child is, because its task takes too long.
func (c *census) isKilled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vacant++
}

// Processes implements worker.ProcessReporter.
func (p *pool) Processes() worker.Processes {
	told := worker.Processes{PIDs: p.Info().PIDs}
	p.census.mu.Lock()
	defer p.census.mu.Unlock()
	told.Started, told.Ended = maps.Clone(p.census.started), maps.Clone(p.census.ended)
	return told
}

// endsOf notes why a child ends, unless that is known already.
func (c *child) endsOf(cause worker.ProcessCause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endsOfLocked(cause)
}

func (c *child) endsOfLocked(cause worker.ProcessCause) {
	if c.cause == "" {
		c.cause = cause
	}
}

// recycledLocked notes that a child makes way for a new one: of its own accord, as it has run all
// the tasks that it may, or takes too much memory.
func (c *child) recycledLocked() {
	cause := worker.ProcessMaxMemory
	if most := c.server.manifest.MaxTasksPerChild; most > 0 && c.last >= uint64(most) {
		cause = worker.ProcessMaxTasks
	}
	c.endsOfLocked(cause)
}

// why is what a child has ended of; one that nobody knows of a reason for is lost.
func (c *child) why() worker.ProcessCause {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == "" {
		return worker.ProcessLost
	}
	return c.cause
}
