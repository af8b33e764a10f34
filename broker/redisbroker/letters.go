package redisbroker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// Letter is a dead letter as it is kept in the hash apium.dlq. The message of a large one is in the key
// apium.dlq.raw.<id>.
type Letter = broker.Letter

// DeadLetters reads and moves the dead letters of a Redis.
type DeadLetters struct {
	p    *Publisher
	pipe *redisconn.Pipeline
	keys keyspace
}

// OpenDeadLetters connects. It fails if Redis cannot be reached now.
func OpenDeadLetters(ctx context.Context, cfg PublisherConfig) (*DeadLetters, error) {
	p, err := OpenPublisher(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &DeadLetters{p: p, pipe: p.pipe, keys: p.keys}, nil
}

// Close ends the connection.
func (d *DeadLetters) Close() error { return d.p.Close() }

// Count returns the number of dead letters.
func (d *DeadLetters) Count(ctx context.Context) (int, error) {
	return redis.Int(d.pipe.Do(ctx, "HLEN", d.keys.letters()))
}

// IDs returns the ids of limit dead letters (negative: all), the oldest first, after
// the first offset.
func (d *DeadLetters) IDs(ctx context.Context, offset, limit int) ([]string, error) {
	last := -1
	if limit >= 0 {
		last = offset + limit - 1
		if limit == 0 {
			return nil, nil
		}
	}
	return redis.Strings(d.pipe.Do(ctx, "ZRANGE", d.keys.letterIndex(), offset, last))
}

// List returns limit dead letters (negative: all), the oldest first, after the first offset.
func (d *DeadLetters) List(ctx context.Context, offset, limit int) ([]Letter, error) {
	ids, err := d.IDs(ctx, offset, limit)
	if err != nil {
		return nil, err
	}
	return d.read(ctx, ids)
}

// Get returns one dead letter, or [broker.ErrNoLetter].
func (d *DeadLetters) Get(ctx context.Context, id string) (Letter, error) {
	letters, err := d.read(ctx, []string{id})
	if err != nil {
		return Letter{}, err
	}
	if len(letters) == 0 {
		return Letter{}, fmt.Errorf("%q: %w", id, broker.ErrNoLetter)
	}
	return letters[0], d.complete(ctx, letters)
}

// complete reads the messages that are not in their letters.
func (d *DeadLetters) complete(ctx context.Context, letters []Letter) error {
	for i := range letters {
		l := &letters[i]
		if l.Size == 0 {
			continue
		}
		var err error
		if l.Raw, err = redis.Bytes(d.pipe.Do(ctx, "GET", d.keys.letterRaw(l.ID))); err != nil {
			return fmt.Errorf("the message of dead letter %s: %w", l.ID, err)
		}
	}
	return nil
}

// read returns the letters of ids; those that are gone are left out.
func (d *DeadLetters) read(ctx context.Context, ids []string) ([]Letter, error) {
	letters := make([]Letter, 0, len(ids))
	for batch := range slices.Chunk(ids, moveBatch) {
		args := redis.Args{d.keys.letters()}.AddFlat(batch)
		texts, err := redis.ByteSlices(d.pipe.Do(ctx, "HMGET", args...))
		if err != nil {
			return nil, err
		}
		for i, text := range texts {
			if text == nil {
				continue
			}
			var l Letter
			if err := json.Unmarshal(text, &l); err != nil {
				return nil, fmt.Errorf("dead letter %s: %w", batch[i], err)
			}
			letters = append(letters, l)
		}
	}
	return letters, nil
}

// replayScript moves dead letters back to their queues, each only if it still is one.
//
//	KEYS  1 apium.dlq, 2 apium.dlq.index, then binding sets and lists
//	ARGV  1 start of the keys of large messages, then per letter: id, message, places in
//	      KEYS of its list and the queue's two binding sets, binding
//	return the ids of those moved
var replayScript = redisconn.NewScript(-1, redisconn.UnlinkLua+`
local done = {}
for i = 2, #ARGV, 6 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('SADD', KEYS[tonumber(ARGV[i + 3])], ARGV[i + 5])
    redis.call('SADD', KEYS[tonumber(ARGV[i + 4])], ARGV[i + 5])
    redis.call('LPUSH', KEYS[tonumber(ARGV[i + 2])], ARGV[i + 1])
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    unlink(ARGV[1] .. ARGV[i])
    done[#done + 1] = ARGV[i]
  end
end
return done
`)

// Replay puts dead letters back at the end of the queues they came from, byte for byte
// and each exactly once, and returns their ids. Ids without a letter are left out.
func (d *DeadLetters) Replay(ctx context.Context, ids ...string) (replayed []string, err error) {
	for some := range slices.Chunk(ids, moveBatch) {
		letters, err := d.read(ctx, some)
		if err != nil {
			return replayed, err
		}
		size := func(l Letter) int { return max(len(l.Raw), l.Size) }
		for batch := range chunks(letters, moveBatch, size) {
			if err := d.complete(ctx, batch); err != nil {
				return replayed, err
			}
			done, err := redis.Strings(d.pipe.Script(ctx, replayScript, d.replayArgs(batch)...))
			replayed = append(replayed, done...)
			if err != nil {
				return replayed, err
			}
			clear(batch) // their messages may be large
		}
	}
	return replayed, nil
}

// replayArgs returns KEYS (with their number) and ARGV of replayScript.
func (d *DeadLetters) replayArgs(letters []Letter) []any {
	keys := []any{d.keys.letters(), d.keys.letterIndex()}
	places := map[string]int{}
	place := func(key string) int {
		if places[key] == 0 {
			keys = append(keys, key)
			places[key] = len(keys)
		}
		return places[key]
	}
	args := []any{d.keys.letterRaws()}
	for _, l := range letters {
		exchange, member := d.keys.declaration(broker.Queue{Name: l.Queue})
		args = append(args, l.ID, l.Raw, place(d.keys.list(l.Queue, d.keys.step(priorityOf(read(l.Raw))))),
			place(d.keys.bindings(exchange)), place(d.keys.permanent(exchange)), member)
	}
	return slices.Concat([]any{len(keys)}, keys, args)
}

// dropScript deletes dead letters.
//
//	KEYS  1 apium.dlq, 2 apium.dlq.index
//	ARGV  1 start of the keys of large messages, then ids
//	return the ids of those deleted
var dropScript = redisconn.NewScript(2, redisconn.UnlinkLua+`
local done = {}
for i = 2, #ARGV do
  if redis.call('HDEL', KEYS[1], ARGV[i]) == 1 then done[#done + 1] = ARGV[i] end
  redis.call('ZREM', KEYS[2], ARGV[i])
  unlink(ARGV[1] .. ARGV[i])
end
return done
`)

// Drop deletes dead letters and returns their ids. Ids without a letter are left out.
func (d *DeadLetters) Drop(ctx context.Context, ids ...string) (dropped []string, err error) {
	for batch := range slices.Chunk(ids, maxBatch) {
		args := redis.Args{d.keys.letters(), d.keys.letterIndex(), d.keys.letterRaws()}.AddFlat(batch)
		done, err := redis.Strings(d.pipe.Script(ctx, dropScript, args...))
		dropped = append(dropped, done...)
		if err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}
