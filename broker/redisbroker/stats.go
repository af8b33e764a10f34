package redisbroker

import (
	"context"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"
)

// QueueLengths returns the number of messages waiting in each queue, all
// priorities together.
func (c *Consumer) QueueLengths(ctx context.Context) (map[string]int, error) {
	lengths := make(map[string]int, len(c.cfg.Queues))
	for i, q := range c.cfg.Queues {
		for _, list := range c.lists[i] {
			n, err := redis.Int(c.pipe.Do(ctx, "LLEN", list))
			if err != nil {
				return nil, err
			}
			lengths[q] += n
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
