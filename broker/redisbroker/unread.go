package redisbroker

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// unreadScript moves a large message that is no object from its list to the dead letters,
// as it is: to be recorded as claimed, every byte of it would have to be escaped. No
// worker, Python's neither, could run it.
//
//	KEYS  1 liveness key, 2 list, 3 apium.dlq, 4 apium.dlq.index, 5 apium.dlq.raw.<id>
//	ARGV  1 epoch, 2 id, 3 letter without its end, 4 time
//	return nil if the liveness key does not hold the epoch, 0 if it is gone, else
//	      {its size, its beginning}
var unreadScript = redisconn.NewScript(5, `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local raw = redis.call('LINDEX', KEYS[2], -1)
if not raw or #raw <= 65536 or string.byte(raw, 1) == 123 and string.byte(raw, -1) == 125 then return 0 end
redis.call('SET', KEYS[5], raw)
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3] .. ',"size":' .. #raw .. '}')
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2])
redis.call('LTRIM', KEYS[2], 0, -2)
return {#raw, string.sub(raw, 1, 100)}
`)

// buryUnread buries the oldest message of a list if it is large and no object.
func (c *Consumer) buryUnread(ctx context.Context, list string, s *source) error {
	now := time.Now()
	letter := Letter{
		ID: uniqueHex(), Queue: s.Name, Reason: "undecodable: not a JSON object", Time: now.UTC(), Hostname: c.cfg.Hostname,
	}
	text, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	asked, cancel := outlive(ctx, claimGrace)
	defer cancel()
	reply, err := c.pipe.Script(asked, unreadScript,
		c.aliveKey, list, c.keys.letters(), c.keys.letterIndex(), c.keys.letterRaw(letter.ID),
		c.epoch.Load(), letter.ID, text[:len(text)-1], strconv.FormatInt(now.UnixMilli(), 10))
	if err != nil {
		return err
	}
	switch reply := reply.(type) {
	case nil:
		return errUnregistered
	case int64:
		return nil // somebody was faster
	default:
		var size int
		var head []byte
		if _, err := redis.Scan(reply.([]any), &size, &head); err != nil {
			return fmt.Errorf("redisbroker: unexpected answer about a message that is no object: %w", err)
		}
		c.log.Error("Received a large message that is no JSON object; it is a dead letter now",
			"queue", s.Name, "letter", letter.ID, "size", size, "message", fmt.Sprintf("%q…", head))
		return nil
	}
}
