package redisbroker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

var _ broker.Returner = (*Consumer)(nil)

// ackScript removes deliveries for good. All tags at once is faster, but says
// only how many there were; whoever takes a message away removes it from both keys.
//
// Sent again because its answer was lost, it answers what it did the first time: whoever
// acknowledges before he starts must not take his own acknowledgement for a loss. A write
// that needs no memory comes first, as all that follows it works out of memory then.
//
//	KEYS  1 mark, 2 unacked, 3 unacked_index
//	ARGV  1 number, then tags
//	return the tags that were not recorded any more
var ackScript = redisconn.NewScript(-1, redisconn.OnceLua+`
local answer, number, lost = KEYS[1] .. '.lost', ARGV[1], {}
redis.call('EXPIRE', answer, 3600)
if done_before() then
  local was = redis.call('GET', answer) or ''
  if string.sub(was, 1, #number + 1) == number .. ' ' then
    for tag in string.gmatch(string.sub(was, #number + 2), '%S+') do lost[#lost + 1] = tag end
  end
  return lost
end
if redis.call('ZREM', KEYS[3], unpack(ARGV, 2)) == #ARGV - 1 then
  redis.call('HDEL', KEYS[2], unpack(ARGV, 2))
  return lost
end
for i = 2, #ARGV do
  if redis.call('HDEL', KEYS[2], ARGV[i]) == 0 then lost[#lost + 1] = ARGV[i] end
end
if #lost > 0 then redis.call('SETEX', answer, 3600, number .. ' ' .. table.concat(lost, ' ')) end
return lost
`)

// Ack removes deliveries for good, up to 1000 in one round trip. An answer that was lost
// is asked for again until ctx is done. After an error, the tags it returns were lost for
// certain, and nothing is known about the others only if ctx was done or c is closed.
func (c *Consumer) Ack(ctx context.Context, tags ...string) (lost []string, err error) {
	if c.cfg.NoAckEmulation {
		return nil, c.usable()
	}
	for batch := range slices.Chunk(tags, maxBatch) {
		texts := redisconn.NewTexts(len(batch), len(batch)*len(batch[0]))
		for _, tag := range batch {
			texts.Add("", tag)
		}
		gone, err := redis.Strings(c.pipe.Once(ctx, c.marks, ackScript, []any{nil, c.keys.unacked, c.keys.index}, []any{nil, texts}))
		lost = append(lost, gone...)
		if err != nil {
			return lost, closedError(err)
		}
		texts.Free()
	}
	c.forget(ctx, c.released(len(tags), func(i int) string { return tags[i] }))
	return lost, nil
}

// returnScript puts messages back that were acknowledged.
//
//	KEYS  1 mark, then lists
//	ARGV  1 number, then per message: place in KEYS of its list, message
var returnScript = redisconn.NewScript(-1, redisconn.OnceLua+`
for i = 2, #KEYS do redis.call('LLEN', KEYS[i]) end
if done_before() then return 0 end
for i = 2, #ARGV, 2 do redis.call('RPUSH', KEYS[tonumber(ARGV[i])], ARGV[i + 1]) end
return 1
`)

// Return implements [broker.Returner]. An answer that was lost is asked for again.
func (c *Consumer) Return(ctx context.Context, acknowledged ...broker.Delivery) error {
	keys, args := []any{nil}, []any{nil}
	places := make(map[string]int)
	for _, d := range slices.Backward(acknowledged) { // pushed last, served first
		text, err := raw(&d)
		if err != nil {
			return fmt.Errorf("return messages: %w", err)
		}
		list := c.keys.list(c.listOf(d.Queue), c.stepOf(text))
		if places[list] == 0 {
			keys = append(keys, list)
			places[list] = len(keys)
		}
		args = append(args, places[list], text)
	}
	if _, err := c.pipe.Once(ctx, c.marks, returnScript, keys, args); err != nil {
		return fmt.Errorf("return messages: %w", closedError(err))
	}
	return nil
}

// holdScript records messages again that were acknowledged.
//
//	KEYS  1 mark, 2 unacked, 3 unacked_index
//	ARGV  1 number, 2 score, then per message: tag, record
var holdScript = redisconn.NewScript(-1, redisconn.OnceLua+`
redis.call('HLEN', KEYS[2])
redis.call('ZCARD', KEYS[3])
if done_before() then return 0 end
for i = 3, #ARGV, 2 do
  redis.call('ZADD', KEYS[3], ARGV[2], ARGV[i])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
return 1
`)

// Hold implements [broker.Returner]. An answer that was lost is asked for again.
func (c *Consumer) Hold(ctx context.Context, acknowledged ...broker.Delivery) error {
	if c.cfg.NoAckEmulation {
		return c.usable()
	}
	args := []any{nil, score(time.Now())}
	for _, d := range acknowledged {
		tail, err := entryTail(c.listOf(d.Queue))
		if err != nil {
			return fmt.Errorf("hold messages: %w", err)
		}
		args = append(args, d.Tag, slices.Concat([]byte{'['}, d.Raw, []byte(tail)))
	}
	if _, err := c.pipe.Once(ctx, c.marks, holdScript, []any{nil, c.keys.unacked, c.keys.index}, args); err != nil {
		return fmt.Errorf("hold messages: %w", closedError(err))
	}
	c.held.Add(int64(len(acknowledged)))
	return nil
}

// eachBatch runs a script on tags and collects the tags it returns. first are
// KEYS and the ARGV before the tags.
func (c *Consumer) eachBatch(ctx context.Context, script *redisconn.Script, first []any, tags []string) (lost []string, err error) {
	for batch := range slices.Chunk(tags, maxBatch) {
		args := make([]any, 0, len(first)+len(batch))
		args = append(args, first...)
		for _, tag := range batch {
			args = append(args, tag)
		}
		gone, err := redis.Strings(c.pipe.Script(ctx, script, args...))
		lost = append(lost, gone...)
		if err != nil {
			return lost, closedError(err)
		}
	}
	return lost, nil
}
