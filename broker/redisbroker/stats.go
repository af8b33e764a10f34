package redisbroker

import (
	"context"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// reporterScript finds the queues for which a worker is the first, in the order of
// ids, of the living workers that consume them.
//
//	KEYS  1 apium.workers
//	ARGV  1 start of the liveness keys, 2 id of the worker, then its queues
//	return the numbers (from 1) of those queues
var reporterScript = redisconn.NewScript(1, `
local first = {}
for i = 3, #ARGV do first[i] = true end
local all = redis.call('HGETALL', KEYS[1])
for w = 1, #all, 2 do
  if all[w] < ARGV[2] and redis.call('EXISTS', ARGV[1] .. all[w]) == 1 then
    local ok, registration = pcall(cjson.decode, all[w + 1])
    for _, queue in ipairs(ok and registration.queues or {}) do
      for i = 3, #ARGV do
        if ARGV[i] == queue then first[i] = false end
      end
    end
  end
end
local mine = {}
for i = 3, #ARGV do
  if first[i] then mine[#mine + 1] = i - 2 end
end
return mine
`)

// QueueLengths returns the number of messages waiting, all priorities together, in
// those queues that this worker reports: of all living workers that consume a
// queue one does, so that their figures can be added up.
func (c *Consumer) QueueLengths(ctx context.Context) (map[string]int, error) {
	args := []any{c.keys.workers(), c.keys.alive(""), c.id}
	for _, q := range c.cfg.Queues {
		args = append(args, q.Name)
	}
	mine, err := redis.Ints(c.pipe.Script(ctx, reporterScript, args...))
	if err != nil {
		return nil, err
	}
	lengths := make(map[string]int, len(mine))
	for _, number := range mine {
		q := number - 1
		for _, list := range c.lists[q] {
			n, err := redis.Int(c.pipe.Do(ctx, "LLEN", list))
			if err != nil {
				return nil, err
			}
			lengths[c.cfg.Queues[q].Name] += n
		}
	}
	return lengths, nil
}

// Unacked returns the number of messages claimed by anybody and not settled.
func (c *Consumer) Unacked(ctx context.Context) (int, error) {
	return redis.Int(c.pipe.Do(ctx, "HLEN", c.keys.unacked))
}

// OldestUnacked returns the time since the least recent claim or renewal of
// anybody's unsettled message, 0 if there is none.
func (c *Consumer) OldestUnacked(ctx context.Context) (time.Duration, error) {
	first, err := redis.Strings(c.pipe.Do(ctx, "ZRANGE", c.keys.index, 0, 0, "WITHSCORES"))
	if err != nil || len(first) != 2 {
		return 0, err
	}
	seconds, err := strconv.ParseFloat(first[1], 64)
	if err != nil {
		return 0, err
	}
	return max(0, time.Since(time.UnixMicro(int64(seconds*1e6)))), nil
}
