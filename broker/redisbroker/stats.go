package redisbroker

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// reporterScript finds the queues for which a worker is the first, in the order of
// ids, of the living workers that consume them.
//
//	KEYS  1 apium.workers
//	ARGV  1 start of the liveness keys, 2 id of the worker, then its queues
//	return the numbers (from 1) of those queues
var reporterScript = redisconn.NewScript(1, `
local first, left = {}, #ARGV - 2
for i = 3, #ARGV do first[i] = true end
local all = redis.call('HGETALL', KEYS[1])
for w = 1, #all, 2 do
  if left == 0 then return {} end -- as it soon is in a large fleet
  if all[w] < ARGV[2] and redis.call('EXISTS', ARGV[1] .. all[w]) == 1 then
    local ok, registration = pcall(cjson.decode, all[w + 1])
    for _, queue in ipairs(ok and registration.queues or {}) do
      for i = 3, #ARGV do
        if ARGV[i] == queue and first[i] then
          first[i], left = false, left - 1
        end
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
	var sources []*source
	for _, s := range c.layout.Load().sources {
		if s.ExchangeType != broker.Fanout { // whose messages are each worker's own
			sources = append(sources, s)
			args = append(args, s.Name)
		}
	}
	mine, err := redis.Ints(c.pipe.Script(ctx, reporterScript, args...))
	if err != nil {
		return nil, err
	}
	lengths := make(map[string]int, len(mine))
	for _, number := range mine {
		s := sources[number-1]
		for _, list := range s.lists {
			n, err := redis.Int(c.pipe.Do(ctx, "LLEN", list))
			if err != nil {
				return nil, err
			}
			lengths[s.Name] += n
		}
	}
	return lengths, nil
}

// parkedScript counts the parked messages of all queues.
//
//	KEYS  1 apium.parked
//	ARGV  1 start of the indices
//	return their number, the time when the next is due ("" if there is none)
var parkedScript = redisconn.NewScript(1, `
local n, first = 0, ''
for _, queue in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  n = n + redis.call('ZCARD', ARGV[1] .. queue)
  local due = redis.call('ZRANGE', ARGV[1] .. queue, 0, 0, 'WITHSCORES')[2]
  if due and (first == '' or tonumber(due) < tonumber(first)) then first = due end
end
return {n, first}
`)

// Parked returns the number of messages parked by anybody, in all queues, and when the
// next is due. Those that a Python worker has restored are counted until their time.
func (c *Consumer) Parked(ctx context.Context) (n int, next time.Time, err error) {
	reply, err := redis.Values(c.pipe.Script(ctx, parkedScript, c.keys.parkedQueues(), c.keys.parked("")))
	if err != nil {
		return 0, time.Time{}, err
	}
	var due string
	if _, err := redis.Scan(reply, &n, &due); err != nil || due == "" {
		return n, time.Time{}, err
	}
	next, err = unscore(due)
	return n, next, err
}

// DeadLetters returns the number of dead letters.
func (c *Consumer) DeadLetters(ctx context.Context) (int, error) {
	return redis.Int(c.pipe.Do(ctx, "HLEN", c.keys.letters()))
}

// Unacked returns the number of messages claimed by anybody and not settled, and apart
// from these the number of parked ones, as Parked does.
func (c *Consumer) Unacked(ctx context.Context) (unacked, parked int, err error) {
	if parked, _, err = c.Parked(ctx); err != nil {
		return 0, 0, err
	}
	all, err := redis.Int(c.pipe.Do(ctx, "HLEN", c.keys.unacked))
	return max(0, all-parked), parked, err
}

// Limits of the search for the oldest claim among parked messages.
const (
	oldestBatch   = 1000
	oldestBatches = 20
)

// OldestUnacked returns the time since the least recent claim or renewal of anybody's
// unsettled message, 0 if there is none. Parked messages have older scores the sooner
// they are due; if more than 20,000 come first, it gives up and returns 0 as well.
func (c *Consumer) OldestUnacked(ctx context.Context) (time.Duration, error) {
	for batch := range oldestBatches {
		start := batch * oldestBatch
		members, err := redis.Strings(c.pipe.Do(ctx, "ZRANGE", c.keys.index, start, start+oldestBatch-1, "WITHSCORES"))
		if err != nil {
			return 0, err
		}
		for i := 0; i+1 < len(members); i += 2 {
			if strings.HasPrefix(members[i], parkedPrefix) {
				continue
			}
			since, err := unscore(members[i+1])
			return max(0, time.Since(since)), err
		}
		if len(members) < 2*oldestBatch {
			break
		}
	}
	return 0, nil
}

// unscore reads a score.
func unscore(text string) (time.Time, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	return time.UnixMicro(int64(math.Round(seconds * 1e6))), err
}
