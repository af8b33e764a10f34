package redisbroker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// giveBackParkedScript moves parked messages to their lists, to be served last, each only
// if its record is still the one that was read. Like claimScript it writes before it removes.
//
//	KEYS  1 unacked, 2 unacked_index, 3 apium.parked, 4 the queue's index of parked messages, then the lists
//	ARGV  1 the queue, then per message: tag, record, message, place of its list in KEYS; a tag whose record is "" has no message any more
//	return number of messages moved
var giveBackParkedScript = redisconn.NewScript(-1, `
local moved = 0
for i = 2, #ARGV, 4 do
  local tag, record = ARGV[i], ARGV[i + 1]
  local now = redis.call('HGET', KEYS[1], tag)
  if now and now == record then
    redis.call('LPUSH', KEYS[tonumber(ARGV[i + 3])], ARGV[i + 2])
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
    moved = moved + 1
  end
  if not now or now == record then redis.call('ZREM', KEYS[4], tag) end
end
if redis.call('EXISTS', KEYS[4]) == 0 then redis.call('SREM', KEYS[3], ARGV[1]) end
return moved
`)

// ParkedQueues returns the queues that may have parked messages, sorted.
func (m *Management) ParkedQueues(ctx context.Context) ([]string, error) {
	queues, err := redis.Strings(m.pipe.Do(ctx, "SMEMBERS", m.keys.parkedQueues()))
	if err != nil {
		return nil, fmt.Errorf("look for parked messages: %w", err)
	}
	slices.Sort(queues)
	return queues, nil
}

// Consumers returns the names of the living workers of ours that consume a queue, sorted.
func (m *Management) Consumers(ctx context.Context, queue string) ([]string, error) {
	workers, err := redis.StringMap(m.pipe.Do(ctx, "HGETALL", m.keys.workers()))
	if err != nil {
		return nil, fmt.Errorf("consumers of queue %q: %w", queue, err)
	}
	var names []string
	for id, text := range workers {
		var reg registration
		if json.Unmarshal([]byte(text), &reg) != nil || !slices.Contains(reg.Queues, queue) {
			continue
		}
		alive, err := redis.Bool(m.pipe.Do(ctx, "EXISTS", m.keys.alive(id)))
		if err != nil {
			return nil, fmt.Errorf("consumers of queue %q: %w", queue, err)
		}
		if alive {
			names = append(names, reg.Hostname)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Unpark gives the parked messages of a queue back to it, whenever they are due, and
// returns their number: the first that is due is served first, after what waits there
// already. A Python worker then holds them until their time. A worker of ours would park
// them again.
func (m *Management) Unpark(ctx context.Context, queue string) (unparked int, err error) {
	left, err := m.Parked(ctx, queue)
	for left > 0 && err == nil {
		var tags []string
		var n int
		if tags, err = redis.Strings(m.pipe.Do(ctx, "ZRANGE", m.keys.parked(queue), 0, moveBatch-1)); err != nil || len(tags) == 0 {
			break
		}
		n, err = m.unpark(ctx, queue, tags)
		unparked, left = unparked+n, left-len(tags)
	}
	if err != nil {
		err = fmt.Errorf("unpark queue %q: %w", queue, err)
	}
	return unparked, err
}

func (m *Management) unpark(ctx context.Context, queue string, tags []string) (int, error) {
	args := []any{m.keys.unacked}
	for _, tag := range tags {
		args = append(args, tag)
	}
	records, err := redis.ByteSlices(m.pipe.Do(ctx, "HMGET", args...))
	if err != nil {
		return 0, err
	}
	keys := []any{m.keys.unacked, m.keys.index, m.keys.parkedQueues(), m.keys.parked(queue)}
	for _, list := range m.keys.lists(queue) {
		keys = append(keys, list)
	}
	start := append(append([]any{len(keys)}, keys...), queue)
	call, size, unparked := slices.Clone(start), 0, 0
	for i, tag := range tags {
		e, list := entry{}, 0
		if records[i] != nil {
			if e, err = decodeEntry(records[i]); err != nil {
				return unparked, fmt.Errorf("record %q: %w", tag, err)
			}
			list = 5 + slices.Index(m.keys.steps, m.keys.step(priorityOf(read(e.raw))))
		}
		call = append(call, tag, records[i], e.raw, list)
		if size += len(records[i]) + len(e.raw); size < moveBytes && i < len(tags)-1 {
			continue
		}
		n, err := redis.Int(m.pipe.Script(ctx, giveBackParkedScript, call...))
		if err != nil {
			return unparked, err
		}
		call, size, unparked = slices.Clone(start), 0, unparked+n
	}
	return unparked, nil
}
