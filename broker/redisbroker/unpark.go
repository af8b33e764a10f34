package redisbroker

import (
	"context"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// How late a parked message may be before it goes back to its queue, and how often
// that is looked at. Together they are below the second within which a task is due.
const (
	overdueAfter = 400 * time.Millisecond
	unparkEvery  = 400 * time.Millisecond
	dueInTime    = 1000 // while so many are claimed in that time, the others are left to who claims them
)

// overdueScript finds parked messages that nobody has claimed, the latest first,
// and forgets queues that have none parked any more.
//
//	KEYS  1 apium.parked
//	ARGV  1 start of the indices, 2 time before which they were due, 3 limit
//	return queue, {tags}, queue, {tags}, …
var overdueScript = redisconn.NewScript(1, `
local found = {}
for _, queue in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local index = ARGV[1] .. queue
  local tags = redis.call('ZREVRANGEBYSCORE', index, ARGV[2], '-inf', 'LIMIT', 0, ARGV[3])
  if #tags > 0 then
    found[#found + 1] = queue
    found[#found + 1] = tags
  elseif redis.call('EXISTS', index) == 0 then
    redis.call('SREM', KEYS[1], queue)
  end
end
return found
`)

// unparkRegularly is the goroutine that brings parked messages back which nobody has
// claimed in time: everybody is full, or nobody consumes their queue. They are then
// ready for anybody, Python workers too, to be served next. They are not marked as
// redelivered: nobody has run them. While this consumer claims thousands a second it leaves
// them where they are: one that goes through its queue costs Redis twice as much.
func (c *Consumer) unparkRegularly() {
	ticker := time.NewTicker(unparkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		if c.takesDue() || !c.known.mayBeDue(time.Now().Add(-overdueAfter)) {
			continue
		}
		switch err := c.unpark(c.ctx); {
		case c.ctx.Err() != nil:
			return
		case err != nil:
			c.troubles.report(c.log, troubleUnpark, err)
		default:
			c.troubles.over(c.log, troubleUnpark)
		}
	}
}

// takesDue tells whether so much of what is due was claimed since the last time that the rest will be soon.
func (c *Consumer) takesDue() bool { return c.dueTaken.Swap(0) >= dueInTime }

// unpark brings back what is overdue, batch by batch.
func (c *Consumer) unpark(ctx context.Context) error {
	for {
		until := score(time.Now().Add(-overdueAfter))
		found, err := redis.Values(c.pipe.Script(ctx, overdueScript, c.keys.parkedQueues(), c.keys.parked(""), until, moveBatch))
		if err != nil {
			return err
		}
		full := false
		for i := 0; i+1 < len(found); i += 2 {
			queue, err := redis.String(found[i], nil)
			if err != nil {
				return fmt.Errorf("redisbroker: unexpected answer about parked messages: %w", err)
			}
			tags, err := redis.Strings(found[i+1], nil)
			if err != nil {
				return fmt.Errorf("redisbroker: unexpected answer about parked messages: %w", err)
			}
			if _, err := c.restore(ctx, moveOptions{parkedOf: queue}, tags); err != nil {
				return err
			}
			full = full || len(tags) == moveBatch
		}
		if !full {
			return nil
		}
	}
}
