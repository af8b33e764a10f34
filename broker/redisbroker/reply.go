package redisbroker

import (
	"context"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

var _ broker.Replier = (*Publisher)(nil)

// replyScript looks for who waits and answers in one step: a requester that goes away
// deletes its binding and its lists, and a list made after that would stay for ever.
// The queue of a requester of Celery's, or ours, is called as usual. While a fleet starts, very
// many wait, and who goes through all bindings for each reply keeps Redis busy.
//
//	KEYS  1 binding set
//	ARGV  1 routing key, 2 separator, 3 prefix of lists, 4 message, 5 TTL in ms, 6 the usual name of the queue
//	return number of queues
var replyScript = redisconn.NewScript(1, `
local head = ARGV[1] .. ARGV[2]
local n = 0
if redis.pcall('SISMEMBER', KEYS[1], head .. ARGV[2] .. ARGV[6]) == 1 then
  redis.call('LPUSH', ARGV[3] .. ARGV[6], ARGV[4])
  redis.call('PEXPIRE', ARGV[3] .. ARGV[6], ARGV[5])
  return 1
end
for _, member in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if string.sub(member, 1, #head) == head then
    local _, last = string.find(member, ARGV[2], #head + 1, true)
    if last then
      local list = ARGV[3] .. string.sub(member, last + 1)
      redis.call('LPUSH', list, ARGV[4])
      redis.call('PEXPIRE', list, ARGV[5])
      n = n + 1
    end
  end
end
return n
`)

// Reply sends a message through a direct exchange, in one round trip. Requesters read
// the list of the most urgent priority only, and replies have it.
func (p *Publisher) Reply(ctx context.Context, m broker.Publication, ttl time.Duration) (delivered bool, err error) {
	queues, err := redis.Int(p.pipe.Script(ctx, replyScript,
		p.keys.bindings(m.Exchange), m.RoutingKey, p.keys.sep, p.keys.prefix, wrap(&m), ttl.Milliseconds(), m.RoutingKey+"."+m.Exchange))
	if err != nil {
		return false, fmt.Errorf("reply to %s: %w", address(m), closedError(err))
	}
	return queues > 0, nil
}
