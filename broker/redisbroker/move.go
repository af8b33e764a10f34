package redisbroker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// moveScript moves messages from unacked to lists, each only if its record is
// still the one that was read: what was acked, restored or claimed anew
// meanwhile stays as it is. Like claimScript it writes before it removes.
//
//	KEYS  1 unacked, 2 unacked_index, 3 liveness key of the worker taken for dead, then
//	      lists, indices of parked messages, counters
//	ARGV  1 RPUSH (served next) or LPUSH (served last),
//	      2 the highest score that may be moved, "" = any,
//	      3 "1" = do nothing if the liveness key exists, 4 seconds a counter lives,
//	      5 start of the marks of what was started, then per message: tag, record ("" = any; without lists: there was none), message,
//	      place in KEYS of its index of parked messages and of its counter (0 = none), number of lists, their places
//	return nil if the worker is alive, else the places (from 1) of the messages moved
var moveScript = redisconn.NewScript(-1, `
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[3]) == 1 then return false end
local moved, n, i = {}, 0, 6
while i <= #ARGV do
  local tag, record, index, counter, lists = ARGV[i], ARGV[i + 1], KEYS[tonumber(ARGV[i + 3])], KEYS[tonumber(ARGV[i + 4])], tonumber(ARGV[i + 5])
  n = n + 1
  local now = redis.call('HGET', KEYS[1], tag)
  local renewed = false
  if ARGV[2] ~= '' then
    local score = redis.call('ZSCORE', KEYS[2], tag)
    renewed = score and tonumber(score) > tonumber(ARGV[2])
  end
  if not now then
    redis.call('ZREM', KEYS[2], tag)
    if index then redis.call('ZREM', index, tag) end
  elseif (record == now or record == '' and lists > 0) and not renewed then
    for j = i + 6, i + 5 + lists do
      redis.call(ARGV[1], KEYS[tonumber(ARGV[j])], ARGV[i + 2])
    end
    if counter and (redis.call('DEL', ARGV[5] .. tag) == 1 or redis.call('EXISTS', counter) == 0) then
      redis.call('INCR', counter)
      redis.call('EXPIRE', counter, ARGV[4])
    end
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
    if index then redis.call('ZREM', index, tag) end
    moved[#moved + 1] = n
  end
  i = i + 6 + lists
end
return moved
`)

// errAlive says that a worker taken for dead is not.
var errAlive = errors.New("redisbroker: the worker is alive")

// A move is one message on its way from unacked to its lists. Without a list, it
// is dropped.
type move struct {
	tag    string
	record []byte // the record that was read; nil: ours, whatever it is, or there was none if there are no lists
	raw    []byte
	lists  []string

	index   string // of the parked message; "": it is not parked
	counter string // of redeliveries, to be raised; "": none
}

func (m move) size() int { return len(m.record) + len(m.raw) }

// moveOptions are the conditions of a group of moves.
type moveOptions struct {
	place    broker.Place
	maxScore string // only messages whose lease is not newer
	deadKey  string // only while this liveness key is missing
	parkedOf string // the messages are parked ones of this queue
}

// move runs moves in order and returns those that happened.
func (c *Consumer) move(ctx context.Context, opts moveOptions, moves []move) (done []move, err error) {
	for batch := range chunks(moves, moveBatch, move.size) {
		places, err := c.moveBatch(ctx, opts, batch)
		if err != nil {
			return done, err
		}
		for _, place := range places {
			done = append(done, batch[place-1])
		}
	}
	return done, nil
}

func (c *Consumer) moveBatch(ctx context.Context, opts moveOptions, moves []move) ([]int, error) {
	keys := []any{c.keys.unacked, c.keys.index, opts.deadKey}
	args := []any{"RPUSH", opts.maxScore, "0", int(countFor / time.Second), c.keys.started("")}
	if opts.place == broker.Back {
		args[0] = "LPUSH"
	}
	if opts.deadKey != "" {
		args[2] = "1"
	} else {
		keys[2] = c.aliveKey
	}
	known := make(map[string]int)
	place := func(key string) int {
		if known[key] == 0 && key != "" {
			keys = append(keys, key)
			known[key] = len(keys)
		}
		return known[key]
	}
	for _, m := range moves {
		args = append(args, m.tag, m.record, m.raw, place(m.index), place(m.counter), len(m.lists))
		for _, list := range m.lists {
			args = append(args, place(list))
		}
	}
	reply, err := c.pipe.Script(ctx, moveScript, slices.Concat([]any{len(keys)}, keys, args)...)
	if err == nil && reply == nil {
		err = errAlive
	}
	return redis.Ints(reply, err)
}

// pushScript puts messages into lists.
//
//	KEYS  1 mark, then lists
//	ARGV  1 mark's number, 2 RPUSH (served next) or LPUSH (served last), then a message for each list
var pushScript = redisconn.NewScript(-1, redisconn.OnceLua+`
for i = 2, #KEYS do redis.call('LLEN', KEYS[i]) end
if done_before() then return 0 end
for i = 2, #KEYS do redis.call(ARGV[2], KEYS[i], ARGV[i + 1]) end
return 1
`)

// push puts messages into lists that are not recorded: nothing else than a mark could tell a
// second attempt that the first has done it.
func (c *Consumer) push(ctx context.Context, place broker.Place, moves []move) error {
	how := "RPUSH"
	if place == broker.Back {
		how = "LPUSH"
	}
	for batch := range chunks(moves, moveBatch, move.size) {
		keys, args := []any{nil}, []any{nil, how}
		for _, m := range batch {
			keys, args = append(keys, m.lists[0]), append(args, m.raw)
		}
		if _, err := c.pipe.Once(ctx, c.marks, pushScript, keys, args); err != nil {
			return err
		}
	}
	return nil
}
