package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// A parked message stays in unacked, as kombu writes it, under a tag that starts with
// parkedPrefix. That is no worker's tag, so no worker's death brings it back.
//
// Its score in unacked_index is the time it is due less the visibility timeout, so
// that every sweep, Python's and ours, takes it for expired at the moment it is due:
// it runs even if no Go worker is left. For that, all sides must have the same
// visibility timeout; one with a shorter timeout restores messages too early, and
// whoever claims them then holds or parks them again.
//
// apium.parked.<queue> is the index by which we find them in time, and apium.parked
// the set of the queues that have one. Python's sweep does not know the index: a tag
// that is no longer in unacked is dropped when its time has come.
//
// Times are the clock of the worker that parked; that of another is compared with
// them as they are. A worker whose clock is ahead claims a message early by as much,
// and then finds by the same clock that it is due. A Python worker whose clock is
// ahead restores it early; who claims it looks at the ETA by his own clock.
const parkedPrefix = "apium.parked:"

// parkScript moves records to parked tags.
//
//	KEYS  1 unacked, 2 unacked_index, 3 apium.parked, then an index per queue
//	ARGV  1 number of queues, then their names, then per message: tag, parked tag,
//	      score, time it is due, place of its queue's index in KEYS
//	return the tags that were not recorded any more
var parkScript = redisconn.NewScript(-1, `
local lost, queues = {}, tonumber(ARGV[1])
redis.call('SADD', KEYS[3], unpack(ARGV, 2, 1 + queues))
for i = 2 + queues, #ARGV, 5 do
  local tag, parked, n = ARGV[i], ARGV[i + 1], 1
  local record = redis.call('HGET', KEYS[1], tag)
  if record then
    while redis.call('HEXISTS', KEYS[1], parked) == 1 do
      n = n + 1
      parked = ARGV[i + 1] .. ':' .. (n > 8 and tag or n)
    end
    redis.call('HSET', KEYS[1], parked, record)
    redis.call('ZADD', KEYS[2], ARGV[i + 2], parked)
    redis.call('ZADD', KEYS[tonumber(ARGV[i + 4])], ARGV[i + 3], parked)
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
  else
    lost[#lost + 1] = tag
  end
end
return lost
`)

// Park gives up deliveries until their time, up to 1000 in one round trip. After an
// error it is unknown which were parked; those that were are lost to who asks again.
func (c *Consumer) Park(ctx context.Context, parked ...broker.Parked) (lost []string, err error) {
	if c.cfg.NoAckEmulation {
		return nil, fmt.Errorf("redisbroker: park without ack emulation: %w", errors.ErrUnsupported)
	}
	for batch := range chunks(parked, maxBatch, func(p broker.Parked) int { return len(p.Raw) }) {
		c.known.park(batch)
		gone, err := redis.Strings(c.pipe.Script(ctx, parkScript, c.parkArgs(batch)...))
		c.known.park(batch)
		if err != nil {
			return lost, fmt.Errorf("park: %w", closedError(err))
		}
		lost = append(lost, gone...)
		c.released(len(batch), func(i int) string { return batch[i].Tag })
	}
	return lost, nil
}

// parkArgs returns KEYS (with their number) and ARGV of parkScript.
func (c *Consumer) parkArgs(batch []broker.Parked) []any {
	keys := []any{c.keys.unacked, c.keys.index, c.keys.parkedQueues()}
	var queues, messages []any
	places := map[string]int{}
	for _, p := range batch {
		list := c.listOf(p.Queue)
		if places[list] == 0 {
			keys = append(keys, c.keys.parked(list))
			queues = append(queues, list)
			places[list] = len(keys)
		}
		messages = append(messages, p.Tag, parkedTag(&p), score(p.Due.Add(-c.cfg.VisibilityTimeout)), score(p.Due), places[list])
	}
	return slices.Concat([]any{len(keys)}, keys, []any{len(queues)}, queues, messages)
}

// takeParked is the part that dueScript and recallScript share: take notes that a parked
// message is claimed under the next tag, and claim writes all of that down. fits tells whether
// there is room for a message in the answer, which has limit records and 16 MiB at most, but may
// have one in any case.
const takeParked = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local limit, first, left = tonumber(ARGV[2]), tonumber(ARGV[5]), 16777216
local records, claimed, scores, gone = {}, {}, {}, {}
local function fits(record)
  left = left - #record
  return #records < limit and (left >= 0 or #records == 0)
end
local function take(parked, record)
  local tag = ARGV[4] .. string.format('%.0f', first + #records)
  records[#records + 1], gone[#gone + 1] = record, parked
  claimed[#claimed + 1], claimed[#claimed + 2] = tag, record
  scores[#scores + 1], scores[#scores + 2] = ARGV[3], tag
end
local function claim()
  if #records == 0 then return end
  redis.call('HSET', KEYS[2], unpack(claimed))
  redis.call('ZADD', KEYS[3], unpack(scores))
  redis.call('HDEL', KEYS[2], unpack(gone))
  redis.call('ZREM', KEYS[3], unpack(gone))
end
`

// dueScript claims the parked messages that are due first. It reads their records in portions, as each command costs more
// than what it reads: first one, then as many as go by the largest so far, but not more than 32.
//
//	KEYS  1 liveness key, 2 unacked, 3 unacked_index, then an index per queue
//	ARGV  1 epoch, 2 limit, 3 score of the claims, 4 tag prefix, 5 number of the first tag,
//	      6 time before which a message must be due
//	return nil if the liveness key does not hold the epoch, else
//	      number of index members dropped because their message is gone, {records}
var dueScript = redisconn.NewScript(-1, takeParked+`
local tags, from, due, queues, seen, stale = {}, {}, {}, 0, {}, 0
for k = 4, #KEYS do
  local found = redis.call('ZRANGEBYSCORE', KEYS[k], '-inf', '(' .. ARGV[6], 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #found, 2 do
    local n = #tags + 1
    tags[n], from[n], due[n] = found[i], k, found[i + 1]
  end
  if #found > 0 then queues = queues + 1 end
  seen[k] = 0
end
if queues > 1 then
  local order, unsorted, unsortedFrom = {}, tags, from
  for n = 1, #tags do order[n], due[n] = n, tonumber(due[n]) end
  table.sort(order, function(a, b) return due[a] < due[b] or due[a] == due[b] and a < b end)
  tags, from = {}, {}
  for n, was in ipairs(order) do tags[n], from[n] = unsorted[was], unsortedFrom[was] end
end
local some, at, portion, largest = {}, 0, 1, 1
for n = 1, math.min(#tags, limit) do
  if at == #some then
    some, at = redis.call('HMGET', KEYS[2], unpack(tags, n, math.min(n + portion - 1, #tags))), 0
  end
  at = at + 1
  local record = some[at]
  if not record then
    stale = stale + 1
  elseif fits(record) then
    take(tags[n], record)
    largest = math.max(largest, #record)
    portion = math.max(1, math.min(32, math.floor(left / largest)))
  else
    break
  end
  seen[from[n]] = seen[from[n]] + 1
end
claim()
for k = 4, #KEYS do
  if seen[k] > 0 then redis.call('ZREMRANGEBYRANK', KEYS[k], 0, seen[k] - 1) end
end
return {stale, records}
`)

// Due claims parked messages of the queues that are consumed, up to 1000 in one round
// trip, or 16 MiB. It fails if the connection breaks meanwhile; what it had claimed by then comes
// with the next call.
func (c *Consumer) Due(ctx context.Context, until time.Time, limit int) ([]broker.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("redisbroker: claim of %d parked messages", limit)
	}
	if c.cfg.NoAckEmulation {
		return nil, fmt.Errorf("redisbroker: parked messages without ack emulation: %w", errors.ErrUnsupported)
	}
	ctx, cancel := c.whileOpen(ctx)
	defer cancel()
	c.dueing.Lock()
	defer c.dueing.Unlock()
	if c.due.none() && !c.known.mayBeDue(until) {
		return nil, c.usable()
	}
	for {
		ds, more, err := c.dueOnce(ctx, until, min(limit, maxBatch))
		switch {
		case c.ctx.Err() != nil && len(ds) == 0:
			return nil, broker.ErrClosed
		case err == nil && (len(ds) > 0 || !more):
			c.dueTaken.Add(int64(len(ds)))
			c.held.Add(int64(len(ds)))
			c.countRedeliveries(ctx, ds)
			return ds, nil
		}
		if err != nil {
			return nil, fmt.Errorf("claim parked messages: %w", err)
		}
	}
}

// dueOnce runs dueScript. more says that there may be messages behind those it dropped.
func (c *Consumer) dueOnce(ctx context.Context, until time.Time, limit int) (ds []broker.Delivery, more bool, err error) {
	if err := c.recoverClaims(ctx, &c.due); err != nil {
		return nil, false, err
	}
	if ds := c.due.take(limit); len(ds) > 0 {
		return ds, false, nil
	}
	return c.claimParked(ctx, dueScript, limit, score(until))
}
