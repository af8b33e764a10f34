package redisbroker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// peerGrace is the time everybody gets to show a sign of life after an outage of
// Redis: longer than the longest pause between two attempts to connect.
const peerGrace = 10 * time.Second

// How many of the others a worker looks at: a few, and more when one of them is missing. In a larger fleet each look takes that
// many at random, so that it costs no more: all together look at each as often as they would in a small one.
const (
	lookFew  = 20
	lookMore = 200
)

// missingLua defines missing(workers, start, most, more): the registered workers whose liveness key is missing, of as
// many as most and of more. Before Redis 6.2 it looks at all.
const missingLua = `
local function missing(workers, start, most, more)
  local ids, found = nil, {}
  if redis.call('HLEN', workers) > tonumber(most) then ids = redis.pcall('HRANDFIELD', workers, most) end
  if not ids or ids.err then
    ids = redis.call('HKEYS', workers)
  else
    for _, id in ipairs(more) do
      if redis.call('HEXISTS', workers, id) == 1 then ids[#ids + 1] = id end
    end
  end
  for i = 1, #ids, 100 do
    local keys = {}
    for j = i, math.min(i + 99, #ids) do keys[#keys + 1] = start .. ids[j] end
    if redis.call('EXISTS', unpack(keys)) < #keys then
      for j = i, i + #keys - 1 do
        if redis.call('EXISTS', start .. ids[j]) == 0 then found[#found + 1] = ids[j] end
      end
    end
  end
  return found
end
`

// lookScript finds registered workers whose liveness key is missing.
//
//	KEYS  1 apium.workers
//	ARGV  1 start of the liveness keys, 2 few, 3 more, then ids that were missing
//	return ids
var lookScript = redisconn.NewScript(1, missingLua+`
local before = {unpack(ARGV, 4)}
if #missing(KEYS[1], ARGV[1], ARGV[2], before) == 0 then return {} end
return missing(KEYS[1], ARGV[1], ARGV[3], before)
`)

// buryScript removes the registration of a dead worker, with nothing left in the inboxes
// of its queues, which nobody else may consume, and the lists that only it would read: what
// was broadcast to it is lost with it, as with a Python worker.
//
//	KEYS  1 liveness key, 2 apium.workers, then pairs of list and inbox
//	ARGV  1 id, then private lists
//	return 0 if the worker is alive, or buried already
var buryScript = redisconn.NewScript(-1, giveBackLua+redisconn.UnlinkLua+`
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for i = 2, #ARGV do unlink(ARGV[i]) end
give_back(3)
return redis.call('HDEL', KEYS[2], ARGV[1])
`)

// watchPeers is the goroutine that hands back what dead workers had claimed.
//
// A worker is dead when its liveness key is missing in two looks in a row. After
// an outage or a stall of Redis all keys may have lapsed together, and who
// reconnects first must not take the others for dead; so when we have had trouble
// ourselves, or Redis has just started, nobody is judged for a while.
func (c *Consumer) watchPeers() {
	if !c.redisIsOld(c.ctx) {
		c.peersDoubtful()
	}
	ticker := time.NewTicker(c.life.beatEvery())
	defer ticker.Stop()
	for missing := map[string]bool(nil); ; {
		var err error
		if len(missing) > 0 || c.known.mayMiss() {
			missing, err = c.look(c.ctx, missing)
		}
		switch {
		case c.ctx.Err() != nil:
			return
		case err != nil:
			c.peersDoubtful()
			c.troubles.report(c.log, troublePeers, err)
		default:
			c.troubles.over(c.log, troublePeers)
		}
		missed := c.missed
		if len(missing) > 0 { // they have been looked at, and are to have their time
			missed = nil
		}
		select {
		case <-ticker.C:
		case <-missed:
			ticker.Reset(c.life.beatEvery())
		case <-c.ctx.Done():
			return
		}
	}
}

// peersDoubtful puts off judging peers.
func (c *Consumer) peersDoubtful() {
	c.graceEnd.Store(time.Now().Add(max(peerGrace, 2*c.cfg.AliveFor)).UnixMilli())
}

// redisIsOld tells whether Redis has run for so long that living workers have found it.
func (c *Consumer) redisIsOld(ctx context.Context) bool {
	info, err := redis.String(c.pipe.Do(ctx, "INFO", "server"))
	_, after, found := strings.Cut(info, "uptime_in_seconds:")
	digits, _, _ := strings.Cut(after, "\r")
	seconds, errDigits := strconv.Atoi(digits)
	return err == nil && found && errDigits == nil && time.Duration(seconds)*time.Second > peerGrace
}

// look finds the workers without a sign of life, and hands back the claims of
// those that had none at the last look either.
func (c *Consumer) look(ctx context.Context, before map[string]bool) (missing map[string]bool, err error) {
	args := []any{c.keys.workers(), c.keys.alive(""), lookFew, lookMore}
	for id := range before {
		args = append(args, id)
	}
	ids, err := redis.Strings(c.pipe.Script(ctx, lookScript, args...))
	if err != nil {
		return nil, err
	}
	if time.Now().UnixMilli() < c.graceEnd.Load() {
		return nil, nil
	}
	missing = make(map[string]bool, len(ids))
	for _, id := range ids {
		if id == c.id {
			continue
		}
		missing[id] = true
		if !before[id] {
			continue
		}
		if err := c.handBack(ctx, id); err != nil && !errors.Is(err, errAlive) {
			return missing, err
		}
	}
	return missing, nil
}

// handBack gives back everything a dead worker had. Every step checks that the
// worker still is dead; one that was only frozen keeps what is left.
func (c *Consumer) handBack(ctx context.Context, id string) error {
	text, err := redis.Bytes(c.pipe.Do(ctx, "HGET", c.keys.workers(), id))
	if errors.Is(err, redis.ErrNil) {
		return nil // another peer was faster
	}
	if err != nil {
		return err
	}
	var reg registration
	if err := json.Unmarshal(text, &reg); err != nil {
		c.log.Error("Unreadable registration of a dead worker; its queues are unknown", "peer", id, "error", err)
	}
	tags, err := c.tagsOf(ctx, id)
	if err != nil {
		return err
	}
	restored, err := c.restore(ctx, moveOptions{deadKey: c.keys.alive(id)}, tags)
	if err != nil {
		return err
	}
	args := []any{0, c.keys.alive(id), c.keys.workers()}
	for _, queue := range reg.Queues {
		for _, list := range c.keys.lists(queue) {
			args = append(args, list, c.keys.inbox(list))
		}
	}
	args[0] = len(args) - 1
	args = append(args, id)
	for _, list := range reg.Private {
		args = append(args, list)
	}
	buried, err := redis.Bool(c.pipe.Script(ctx, buryScript, args...))
	if buried {
		c.log.Warn("A worker is gone; the messages it held are back in their queues",
			"peer", id, "hostname", reg.Hostname, "pid", reg.PID, "restored", restored)
	}
	return err
}

// tagsOf returns the tags of a worker, newest first.
func (c *Consumer) tagsOf(ctx context.Context, id string) ([]string, error) {
	prefix := id + ":"
	numbers := map[uint64]bool{} // HSCAN may say the same twice
	for cursor := "0"; ; {
		reply, err := redis.Values(c.pipe.Do(ctx, "HSCAN", c.keys.unacked, cursor, "MATCH", prefix+"*", "COUNT", 1000))
		if err != nil {
			return nil, err
		}
		var pairs []string
		if _, err := redis.Scan(reply, &cursor, &pairs); err != nil {
			return nil, err
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			n, err := strconv.ParseUint(strings.TrimPrefix(pairs[i], prefix), 10, 64)
			if err == nil {
				numbers[n] = true
			}
		}
		if cursor == "0" {
			break
		}
	}
	sorted := make([]uint64, 0, len(numbers))
	for n := range numbers {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted)
	slices.Reverse(sorted)
	tags := make([]string, len(sorted))
	for i, n := range sorted {
		tags[i] = prefix + strconv.FormatUint(n, 10)
	}
	return tags, nil
}
