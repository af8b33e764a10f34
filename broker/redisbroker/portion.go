package redisbroker

import (
	"context"
	"iter"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// Limits of the scripts that move messages, so that Redis is not held up for long.
const (
	moveBatch = 100
	moveBytes = 1 << 20
)

// chunks divides messages, in order, into portions of at most so many, and of little more
// than moveBytes: a larger message has a portion of its own.
func chunks[T any](all []T, most int, size func(T) int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for len(all) > 0 {
			n, bytes := 1, size(all[0])
			for n < len(all) && n < most && bytes+size(all[n]) <= moveBytes {
				bytes += size(all[n])
				n++
			}
			if !yield(all[:n:n]) {
				return
			}
			all = all[n:]
		}
	}
}

// recordsScript reads records of claims: one at least, and as many as go into a number of
// bytes.
//
//	KEYS  1 unacked
//	ARGV  1 bytes, then tags
//	return the records of the first tags; nil: there is none
var recordsScript = redisconn.NewScript(1, `
local left, records = tonumber(ARGV[1]), {}
for i = 2, #ARGV do
  left = left - redis.call('HSTRLEN', KEYS[1], ARGV[i])
  if i > 2 and left < 0 then break end
  records[i - 1] = redis.call('HGET', KEYS[1], ARGV[i])
end
return records
`)

// records returns the records of the first of some tags: one at least, and no more than
// moveBytes at a time. nil is none.
func (c *Consumer) records(ctx context.Context, tags []string) ([][]byte, error) {
	args := make([]any, 0, 2+len(tags))
	args = append(args, c.keys.unacked, moveBytes)
	for _, tag := range tags {
		args = append(args, tag)
	}
	return redis.ByteSlices(c.pipe.Script(ctx, recordsScript, args...))
}
