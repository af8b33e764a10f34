package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

var _ broker.Recaller = (*Consumer)(nil)

// parkedTag is the tag of a message while it is parked: by it the message is found if its
// task is revoked. Of several messages of one task, parkScript adds ":2" and so on; from
// the ninth on they are not found any more.
func parkedTag(p *broker.Parked) string {
	if p.TaskID == "" {
		return parkedPrefix + strings.TrimPrefix(p.Tag, idPrefix) // what follows the prefix is unique
	}
	return parkedPrefix + p.TaskID
}

// recallScript claims parked messages by their tags.
//
//	KEYS  1 liveness key, 2 unacked, 3 unacked_index, then an index per queue
//	ARGV  1 epoch, 2 limit, 3 score of the claims, 4 tag prefix, 5 number of the first tag,
//	      then the parked tags of tasks' first messages
//	return as dueScript
var recallScript = redisconn.NewScript(-1, takeParked+`
for i = 6, #ARGV do
  local parked = ARGV[i]
  for n = 2, 9 do
    local record = redis.call('HGET', KEYS[2], parked)
    for k = record and fits(record) and 4 or #KEYS + 1, #KEYS do
      if redis.call('ZREM', KEYS[k], parked) == 1 then take(parked, record) end
    end
    parked = ARGV[i] .. ':' .. n
  end
end
claim()
return {0, records}
`)

// Recall claims the parked messages of tasks, up to 500 tasks in one round trip. It fails
// if the connection breaks meanwhile; what it had claimed by then comes with the next
// call of Due. Of large messages it takes as many as Due does.
func (c *Consumer) Recall(ctx context.Context, taskIDs ...string) (ds []broker.Delivery, err error) {
	if c.cfg.NoAckEmulation {
		return nil, nil // nothing is parked
	}
	ctx, cancel := c.whileOpen(ctx)
	defer cancel()
	c.dueing.Lock()
	defer c.dueing.Unlock()
	if err := c.recoverClaims(ctx, &c.due); err != nil { // claims remembers one lost answer
		return nil, fmt.Errorf("recall parked messages: %w", closedError(err))
	}
	for batch := range slices.Chunk(taskIDs, maxBatch/2) {
		tags := make([]any, len(batch))
		for i, id := range batch {
			tags[i] = parkedPrefix + id
		}
		found, _, err := c.claimParked(ctx, recallScript, maxBatch, tags...)
		if err != nil {
			return ds, fmt.Errorf("recall parked messages: %w", closedError(err))
		}
		c.held.Add(int64(len(found)))
		c.countRedeliveries(ctx, found)
		ds = append(ds, found...)
	}
	return ds, nil
}

// claimParked runs a script that claims parked messages, at most limit, registering first
// if need be. stale says that it dropped index members whose messages are gone.
func (c *Consumer) claimParked(
	ctx context.Context, script *redisconn.Script, limit int, more ...any,
) (ds []broker.Delivery, stale bool, err error) {
	first, term, now := c.newTags(limit), c.Lease().Term, time.Now()
	args := []any{0, c.aliveKey, c.keys.unacked, c.keys.index}
	for _, s := range c.layout.Load().sources {
		args = append(args, c.keys.parked(s.list))
	}
	args[0] = len(args) - 1
	args = append(args, c.epoch.Load(), limit, score(time.Now()), c.tagPrefix, first)
	reply, err := redis.Values(c.ask(ctx, &c.due, span{first, uint64(limit)}, script, append(args, more...)))
	if errors.Is(err, errUnregistered) {
		if err = c.register(ctx, c.epoch.Load()); err == nil {
			return c.claimParked(ctx, script, limit, more...)
		}
	}
	if err != nil {
		return nil, false, err
	}
	var dropped int
	var records [][]byte
	if _, err := redis.Scan(reply, &dropped, &records); err != nil {
		return nil, false, fmt.Errorf("redisbroker: unexpected answer to a claim of parked messages: %w", err)
	}
	ds = c.recorded(c.tags(first, len(records)), records, term)
	for i := range ds {
		ds[i].Claimed = now
	}
	return ds, dropped > 0, nil
}
