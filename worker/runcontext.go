package worker

import (
	"context"
	"sync"
	"time"
)

// runContext is the context of a run, which is cancelled when that ends, or should end. Most handlers do not look at theirs:
// what it costs to make one is spent when somebody does.
type runContext struct {
	parent context.Context //nolint:containedctx // of all runs

	mu      sync.Mutex
	made    context.Context //nolint:containedctx // nil: nobody has looked
	cancel  context.CancelCauseFunc
	stopped bool
	cause   error // of that; nil: the run has ended
}

// context makes the context, or returns the one that was made.
func (c *runContext) context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		c.made, c.cancel = context.WithCancelCause(c.parent)
		if c.stopped {
			c.cancel(c.cause)
		}
	}
	return c.made
}

// stop cancels it for a reason. Of several, the first counts.
func (c *runContext) stop(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
	case c.made != nil:
		c.cancel(cause)
	default:
		c.cause = cause
	}
	c.stopped = true
}

// Deadline implements [context.Context].
func (c *runContext) Deadline() (deadline time.Time, ok bool) { return c.parent.Deadline() }

// Done implements [context.Context].
func (c *runContext) Done() <-chan struct{} { return c.context().Done() }

// Err implements [context.Context].
func (c *runContext) Err() error { return c.context().Err() }

// Value implements [context.Context]. Contexts that are made of this one find the made one by it, and [context.Cause] its cause.
func (c *runContext) Value(key any) any { return c.context().Value(key) }
