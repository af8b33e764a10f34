package redisbroker

import (
	"context"
	"slices"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// ackScript removes deliveries for good. All tags at once is faster, but says
// only how many there were; whoever takes a message away removes it from both keys.
//
//	KEYS  1 unacked, 2 unacked_index
//	ARGV  tags
//	return the tags that were not recorded any more
var ackScript = redisconn.NewScript(2, `
local lost = {}
if redis.call('ZREM', KEYS[2], unpack(ARGV)) == #ARGV then
  redis.call('HDEL', KEYS[1], unpack(ARGV))
  return lost
end
for i = 1, #ARGV do
  if redis.call('HDEL', KEYS[1], ARGV[i]) == 0 then lost[#lost + 1] = ARGV[i] end
end
return lost
`)

// Ack removes deliveries for good, up to 1000 in one round trip. After an error,
// the tags it returns were lost for certain; about the others nothing is known,
// and those that were acked in fact will be called lost when acked again.
func (c *Consumer) Ack(ctx context.Context, tags ...string) (lost []string, err error) {
	if c.cfg.NoAckEmulation {
		return nil, c.usable()
	}
	lost, err = c.eachBatch(ctx, ackScript, []any{c.keys.unacked, c.keys.index}, tags)
	if err == nil {
		c.forget(ctx, c.released(len(tags), func(i int) string { return tags[i] }))
	}
	return lost, err
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
