package redisbroker

import (
	"context"
	"time"

	"github.com/apium/apium/internal/redisconn"
)

// extendScript renews the scores of the tags that are still recorded.
//
//	KEYS  1 unacked, 2 unacked_index
//	ARGV  1 score, then tags
//	return the tags that are not recorded any more
var extendScript = redisconn.NewScript(2, `
local lost, held = {}, {}
for i = 2, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    held[#held + 1] = ARGV[1]
    held[#held + 1] = ARGV[i]
  else
    lost[#lost + 1] = ARGV[i]
  end
end
if #held > 0 then redis.call('ZADD', KEYS[2], unpack(held)) end
return lost
`)

// Extend renews leases and returns the tags that are lost. After an error, the
// tags it returns are lost for certain; about the others nothing is known.
func (c *Consumer) Extend(ctx context.Context, tags ...string) (lost []string, err error) {
	if c.cfg.NoAckEmulation {
		return nil, c.usable()
	}
	return c.eachBatch(ctx, extendScript, []any{c.keys.unacked, c.keys.index, score(time.Now())}, tags)
}
