package redisbroker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
)

// letterMost is the largest message, in bytes, that is kept in its letter. A larger one has
// a key of its own, so that letters can be listed, and since a string of Redis is too short
// for the largest in base64.
const letterMost = 256 << 10

// orphanFor is how long, in seconds, such a key lives whose letter was never written.
const orphanFor = 24 * 60 * 60

// letterScript moves messages to the dead letters.
//
//	KEYS  1 unacked, 2 unacked_index, 3 apium.dlq, 4 apium.dlq.index
//	ARGV  1 "1" = messages are not recorded, 2 start of the keys of large messages,
//	      then per message: tag, id, letter, time
var letterScript = redisconn.NewScript(4, `
for i = 3, #ARGV, 4 do
  if ARGV[1] == '1' or redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('PERSIST', ARGV[2] .. ARGV[i + 1])
    redis.call('HSET', KEYS[3], ARGV[i + 1], ARGV[i + 2])
    redis.call('ZADD', KEYS[4], ARGV[i + 3], ARGV[i + 1])
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
  end
end
return 1
`)

// Bury puts deliveries among the dead letters; see [DeadLetters].
func (c *Consumer) Bury(ctx context.Context, letters ...broker.DeadLetter) error {
	for batch := range chunks(letters, moveBatch, func(l broker.DeadLetter) int { return len(l.Raw) }) {
		args := []any{c.keys.unacked, c.keys.index, c.keys.letters(), c.keys.letterIndex(), c.unrecorded(), c.keys.letterRaws()}
		for _, l := range batch {
			id, text, err := c.letter(ctx, l)
			if err != nil {
				return fmt.Errorf("bury: %w", closedError(err))
			}
			args = append(args, l.Tag, id, text, strconv.FormatInt(l.At.UnixMilli(), 10))
		}
		if _, err := c.pipe.Script(ctx, letterScript, args...); err != nil {
			return fmt.Errorf("bury: %w", closedError(err))
		}
		c.forget(ctx, c.released(len(batch), func(i int) string { return batch[i].Tag }))
	}
	return nil
}

// letter writes a dead letter, and the key of its message if that is large. Its id comes from
// the claim, so that it is the same letter when it is written once more.
func (c *Consumer) letter(ctx context.Context, d broker.DeadLetter) (id string, text []byte, err error) {
	claim := sha256.Sum256([]byte(d.Tag))
	l := Letter{
		ID: hex.EncodeToString(claim[:8]), Queue: d.Queue, Reason: d.Reason, Time: d.At.UTC(),
		Hostname: c.cfg.Hostname, Redeliveries: d.Redeliveries, Raw: d.Raw,
	}
	if task, _ := new(protocol.Decoder).DecodeHeaders(read(d.Raw)); task != nil {
		l.Task, l.TaskID = task.Name, task.ID
	}
	if len(l.Raw) > letterMost {
		if _, err := c.pipe.Do(ctx, "SETEX", c.keys.letterRaw(l.ID), orphanFor, l.Raw); err != nil {
			return "", nil, err
		}
		l.Raw, l.Size = nil, len(l.Raw)
	}
	text, err = json.Marshal(l)
	return l.ID, text, err
}
