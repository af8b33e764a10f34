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
	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
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
//	      5 start of the marks of what was started, then per message: tag, record ("" = any), message, place in KEYS of its index of
//	      parked messages and of its counter (0 = none), number of lists, their places
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
  elseif (record == '' or record == now) and not renewed then
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
	record []byte // the record that was read; nil: ours, whatever it is
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

// Requeue gives deliveries back to their queues, marked as redelivered.
func (c *Consumer) Requeue(ctx context.Context, place broker.Place, deliveries ...broker.Delivery) error {
	moves := make([]move, len(deliveries))
	for i, d := range deliveries {
		raw, priority := redeliver(d.Raw)
		moves[i] = move{tag: d.Tag, raw: raw, lists: []string{c.keys.list(c.listOf(d.Queue), c.keys.step(priority))}}
	}
	return c.requeue(ctx, place, moves)
}

// Unclaim gives deliveries back to their queues, byte for byte, to be served next.
func (c *Consumer) Unclaim(ctx context.Context, deliveries ...broker.Delivery) error {
	moves := make([]move, len(deliveries))
	for i, d := range deliveries {
		moves[i] = move{tag: d.Tag, raw: d.Raw, lists: []string{c.keys.list(c.listOf(d.Queue), c.stepOf(d.Raw))}}
	}
	return c.requeue(ctx, broker.Front, moves)
}

func (c *Consumer) requeue(ctx context.Context, place broker.Place, moves []move) error {
	if place != broker.Back {
		slices.Reverse(moves) // pushed last, served first
	}
	var err error
	if c.cfg.NoAckEmulation {
		err = c.push(ctx, place, moves)
	} else {
		_, err = c.move(ctx, moveOptions{place: place}, moves)
	}
	if err != nil {
		return fmt.Errorf("requeue: %w", closedError(err))
	}
	c.released(len(moves), func(i int) string { return moves[i].tag })
	return nil
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

// redeliver marks a message and returns its priority. One that cannot be decoded
// goes back as it is: what to make of it is for the worker that gets it.
func redeliver(raw []byte) (marked []byte, priority int) {
	m := read(raw)
	if m.Err != nil {
		return raw, 0
	}
	marked, err := envelope.MarkRedelivered(raw)
	if err != nil {
		return raw, m.Priority
	}
	return marked, m.Priority
}

// restoration works out where the message of a record found in unacked goes. A
// record that nothing can be made of is dropped: a Python neighbour would die of it.
func (c *Consumer) restoration(ctx context.Context, opts moveOptions, tag string, record []byte) (move, error) {
	m := move{tag: tag, record: record}
	if opts.parkedOf != "" {
		m.index = c.keys.parked(opts.parkedOf)
	}
	if record == nil {
		return m, nil
	}
	e, err := decodeEntry(record)
	var msg *protocol.Received
	if err == nil {
		msg = read(e.raw)
		err = msg.Err
	}
	switch {
	case err != nil:
	case strings.HasPrefix(tag, parkedPrefix):
		m.raw, m.index = e.raw, c.keys.parked(e.routingKey) // nobody ran it: no mark
	default:
		m.raw, err = envelope.MarkRedelivered(e.raw)
	}
	if err != nil {
		c.log.Error("Removing an undecodable message", "key", c.keys.unacked, "tag", tag, "error", err, "message", excerpt(record))
		return m, nil
	}
	if strings.HasPrefix(tag, idPrefix) {
		m.counter = c.keys.redeliveries(string(msg.DeliveryTag))
	}
	queues, err := c.route(ctx, e.exchange, e.routingKey)
	if err != nil {
		return m, err
	}
	if len(queues) == 0 {
		c.log.Error("Dropping a message that no binding routes", "tag", tag,
			"exchange", e.exchange, "routing_key", e.routingKey, "message", excerpt(e.raw))
	}
	for _, q := range queues {
		m.lists = append(m.lists, c.keys.list(q, c.keys.step(msg.Priority)))
	}
	return m, nil
}

// restore gives recorded messages back to where they came from, served next.
// The tags are given newest first, so that the oldest is pushed last.
func (c *Consumer) restore(ctx context.Context, opts moveOptions, tags []string) (restored int, err error) {
	for len(tags) > 0 {
		records, err := c.records(ctx, tags[:min(len(tags), moveBatch)])
		if err != nil {
			return restored, err
		}
		moves := make([]move, len(records))
		for i := range records {
			if moves[i], err = c.restoration(ctx, opts, tags[i], records[i]); err != nil {
				return restored, err
			}
		}
		tags = tags[len(records):]
		done, err := c.move(ctx, opts, moves)
		for _, m := range done {
			if len(m.lists) > 0 {
				restored++
			}
		}
		if err != nil {
			return restored, err
		}
	}
	return restored, nil
}
