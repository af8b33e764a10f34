package redisbroker

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

var _ broker.ParkedLister = (*Consumer)(nil)

// listParkedScript reads the parked messages of a queue that are due first.
//
//	KEYS  1 unacked, 2 the queue's index
//	ARGV  1 limit
//	return time it is due, record, … of those that are recorded
var listParkedScript = redisconn.NewScript(2, `
local found = redis.call('ZRANGE', KEYS[2], 0, tonumber(ARGV[1]) - 1, 'WITHSCORES')
local list = {}
for i = 1, #found, 2 do
  local record = redis.call('HGET', KEYS[1], found[i])
  if record then
    list[#list + 1] = found[i + 1]
    list[#list + 1] = record
  end
end
return list
`)

// ListParked looks at the parked messages of the queues that are consumed, in one round
// trip per queue.
func (c *Consumer) ListParked(ctx context.Context, limit int) ([]broker.Parked, error) {
	ctx, cancel := c.whileOpen(ctx)
	defer cancel()
	var all []broker.Parked
	for _, s := range c.layout.Load().sources {
		reply, err := redis.ByteSlices(c.pipe.Script(ctx, listParkedScript, c.keys.unacked, c.keys.parked(s.list), limit))
		if err != nil {
			return nil, fmt.Errorf("list parked messages of queue %q: %w", s.Name, closedError(err))
		}
		for i := 0; i+1 < len(reply); i += 2 {
			due, scoreErr := unscore(string(reply[i]))
			e, err := decodeEntry(reply[i+1])
			if scoreErr != nil || err != nil {
				continue // not ours; Due warns about it when its time comes
			}
			all = append(all, broker.Parked{Delivery: broker.Delivery{Queue: s.Name, Content: content(e.raw)}, Due: due})
		}
	}
	slices.SortStableFunc(all, func(a, b broker.Parked) int { return a.Due.Compare(b.Due) })
	return all[:min(len(all), limit)], nil
}
