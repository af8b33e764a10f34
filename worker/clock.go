package worker

import "sync/atomic"

// Clock is a Lamport clock (kombu/clocks.py: LamportClock). One worker has one, which
// stamps its events and grows with what it hears from others. The zero value is ready
// for use; its methods are safe for concurrent use.
type Clock struct{ value atomic.Int64 }

// Forward makes the clock one older and returns its value.
func (c *Clock) Forward() int64 { return c.value.Add(1) }

// Value returns the present value.
func (c *Clock) Value() int64 { return c.value.Load() }

// mostClock is more than clocks that tick get to. A value above it is nonsense, which must
// not spoil the clocks of all workers.
const mostClock = 1 << 52

// Adjust takes notice of another clock's value: the clock becomes older than both.
func (c *Clock) Adjust(other int64) int64 {
	if other > mostClock {
		other = 0
	}
	for {
		value := c.value.Load()
		next := max(value, other) + 1
		if c.value.CompareAndSwap(value, next) {
			return next
		}
	}
}

// Clock returns the worker's logical clock.
func (w *Worker) Clock() *Clock { return w.cfg.Clock }
