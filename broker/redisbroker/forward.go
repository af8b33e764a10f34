package redisbroker

import (
	"context"
	"fmt"
	"slices"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// forwardScript moves messages to the heads of other lists.
//
//	KEYS  1 unacked, 2 unacked_index, 3 binding set of the queue, 4 the one for kombu's sweep, then lists
//	ARGV  1 binding, then per message: tag, place of its list in KEYS, message
var forwardScript = redisconn.NewScript(-1, `
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
for i = 2, #ARGV, 3 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('LPUSH', KEYS[tonumber(ARGV[i + 1])], ARGV[i + 2])
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
  end
end
return 1
`)

// Forward puts deliveries, byte for byte, at the end of another queue, which is declared
// if need be.
func (c *Consumer) Forward(ctx context.Context, queue string, deliveries ...broker.Delivery) error {
	if c.cfg.NoAckEmulation {
		return c.pushTo(ctx, queue, deliveries)
	}
	exchange, member := c.keys.declaration(broker.Queue{Name: queue})
	for batch := range chunks(deliveries, moveBatch, func(d broker.Delivery) int { return len(d.Raw) }) {
		keys := []any{c.keys.unacked, c.keys.index, c.keys.bindings(exchange), c.keys.permanent(exchange)}
		args := []any{member}
		places := map[int]int{}
		for _, d := range batch {
			step := c.stepOf(d.Raw)
			if places[step] == 0 {
				keys = append(keys, c.keys.list(queue, step))
				places[step] = len(keys)
			}
			args = append(args, d.Tag, places[step], d.Raw)
		}
		if _, err := c.pipe.Script(ctx, forwardScript, slices.Concat([]any{len(keys)}, keys, args)...); err != nil {
			return fmt.Errorf("forward to queue %q: %w", queue, closedError(err))
		}
		c.released(len(batch), func(i int) string { return batch[i].Tag })
	}
	return nil
}

// pushTo is Forward for claims that leave no records.
func (c *Consumer) pushTo(ctx context.Context, queue string, deliveries []broker.Delivery) error {
	moves := make([]move, len(deliveries))
	for i, d := range deliveries {
		moves[i] = move{raw: d.Raw, lists: []string{c.keys.list(queue, c.stepOf(d.Raw))}}
	}
	err := bind(ctx, c.pipe, &c.keys, "SADD", broker.Queue{Name: queue})
	if err == nil {
		err = c.push(ctx, broker.Back, moves)
	}
	if err != nil {
		return fmt.Errorf("forward to queue %q: %w", queue, closedError(err))
	}
	c.released(len(deliveries), func(i int) string { return deliveries[i].Tag })
	return nil
}

// stepOf returns the priority step of a message; of one that cannot be read, 0.
func (c *Consumer) stepOf(raw []byte) int {
	return c.keys.step(priorityOf(read(raw)))
}

// unrecorded is "1" if claims leave no records, for scripts.
func (c *Consumer) unrecorded() string {
	if c.cfg.NoAckEmulation {
		return "1"
	}
	return "0"
}
