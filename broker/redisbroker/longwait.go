package redisbroker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"
)

// An idle worker costs its Redis no more commands than a Python one. When its waiters have moved nothing for some seconds they
// block for minutes, and once a second, in turns, a beat and one EXISTS look at all lists and inboxes. Whatever they find is
// claimed as ever: the waiters are unblocked first, as one may be claiming.
//
//   - The answer of a waiter that blocks for minutes does not come, as its connection has died in silence. A message that it has
//     moved is found by the next look, and one that it has claimed by the next beat, which asks for its tag. In both cases the waiter is
//     unblocked, and connects anew if that is not heard of. When another connection is lost, all that block for long connect anew.
//   - Its worker has died, and the server does not know: behind the command is a script that gives the message back once the
//     sign of life has lapsed. Until then it is claimed, or lies in the inbox, as if it had come to the living worker.
//   - A Claim has ended, and the waiter is still blocked: as with one that blocks for a second, a message makes a detour, once.
//   - Who is in between cuts connections on which nothing is said for long, which is so if it happens twice in a row: then
//     waiters block for half as long.
//   - The server does not unblock, or is not allowed to: waiters block for a second only, as at first.
const (
	quietAfter  = 5               // commands that have timed out in a row
	longestWait = 5 * time.Minute // and no more than a twelfth of the visibility timeout, as a claim counts from the waiter's command
	unblockedIn = 1500 * time.Millisecond
	leastLong   = 10 * time.Second // that is tried, however soon connections are cut
)

// longWait is a command that blocks for long.
type longWait struct {
	conn redis.Conn
	tag  string // of what its script claims; "": nothing
}

// patience is how long a waiter's next command is to block.
func (c *Consumer) patience(w *waiter) time.Duration {
	long := min(longestWait, c.cfg.VisibilityTimeout/12, w.bearable).Truncate(time.Second)
	if w.quiet < quietAfter || !w.unblocks || c.cfg.NoAckEmulation || c.waits.poll < waitTimeout {
		return waitTimeout
	}
	return max(long, waitTimeout)
}

// idle blocks until a message may be there. Only where no waiter blocks for long it returns now and then without a reason.
func (c *Consumer) idle(ctx context.Context, on func(list string) bool) error {
	for began := time.Now(); ; {
		moved, err := c.waits.wait(ctx, on)
		if moved || err != nil {
			return err
		}
		long, takes, empty := c.waits.now()
		long, takes = long && on == nil, takes && on == nil
		switch {
		case long && time.Since(empty) < c.waits.poll: // a beat has looked
		case long:
			if found, err := c.isAnythingThere(ctx); found || err != nil {
				c.unblock(ctx)
				c.awaitTaken(ctx)
				return err
			}
		case !takes || time.Since(began) >= c.waits.poll+waitTimeout:
			return nil
		}
	}
}

// isAnythingThere tells whether there is a message in a list or an inbox, or one that was claimed without our knowledge.
func (c *Consumer) isAnythingThere(ctx context.Context) (bool, error) {
	asked := time.Now()
	n, err := redis.Int(c.pipe.Do(ctx, "EXISTS", c.waits.inboxes()...))
	if n == 0 && err == nil {
		c.waits.saw(asked)
	}
	return n > 0, err
}

// unblock ends the waiters' commands that block for long.
func (c *Consumer) unblock(ctx context.Context) {
	for _, w := range c.waits.each() {
		c.unblockOne(ctx, w)
	}
}

// awaitTaken waits until no waiter is claiming, for Claim.
func (c *Consumer) awaitTaken(ctx context.Context) {
	timer := time.NewTimer(unblockedIn)
	defer timer.Stop()
	for c.waits.isTaking() {
		select {
		case <-c.waits.moved:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// unblockOne ends a waiter's command if it blocks for long. The connection is closed if that is not heard of in time.
func (c *Consumer) unblockOne(ctx context.Context, w *waiter) {
	long, id := w.long.Load(), w.client.Load()
	if long == nil || id <= 0 {
		return
	}
	time.AfterFunc(unblockedIn, func() { w.cut(long) })
	if _, err := c.pipe.Do(ctx, "CLIENT", "UNBLOCK", id); err != nil {
		w.cut(long)
	}
}

// cut closes a waiter's connection if it still waits for the answer to a command.
func (w *waiter) cut(long *longWait) {
	if long != nil && w.long.Load() == long {
		long.conn.Close()
	}
}

// cutLong has all waiters that block for long connect anew: another connection was lost.
func (c *Consumer) cutLong() {
	for _, w := range c.waits.each() {
		w.cut(w.long.Load())
	}
}

// canUnblock tells whether the server unblocks clients.
func canUnblock(ctx context.Context, conn redis.Conn, id int64) (bool, error) {
	_, err := redis.DoContext(conn, ctx, "CLIENT", "UNBLOCK", id)
	var refused redis.Error
	if errors.As(err, &refused) {
		return false, nil
	}
	return err == nil, err
}

// longLocked tells whether all waiters block for long. w.mu is held.
func (w *waits) longLocked() bool {
	return len(w.all) > 0 && !slices.ContainsFunc(w.all, func(one *waiter) bool { return one.long.Load() == nil })
}

// isLong is longLocked for others.
func (w *waits) isLong() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.longLocked()
}

// taken are the tags under which waiters that block for long claim.
func (w *waits) taken() (tags []any) {
	for _, one := range w.each() {
		if long := one.long.Load(); long != nil && long.tag != "" {
			tags = append(tags, long.tag)
		}
	}
	return tags
}

// now tells whether all waiters block for long, or the only one claims what it moves, and when all was seen to be empty.
func (w *waits) now() (long, takes bool, empty time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.longLocked(), w.takesLocked(), w.empty
}

// saw notes when all lists and inboxes were seen to be empty.
func (w *waits) saw(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at.After(w.empty) {
		w.empty = at
	}
}

func (w *waits) isTaking() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.taking > 0
}
