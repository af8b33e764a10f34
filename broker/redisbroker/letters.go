package redisbroker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
)

// Letter is a dead letter as it is kept in the hash apium.dlq.
type Letter struct {
	ID           string    `json:"id"`
	Queue        string    `json:"queue"` // where it came from, and is replayed to
	Reason       string    `json:"reason"`
	Time         time.Time `json:"time"`              // UTC
	Hostname     string    `json:"hostname"`          // of the worker that buried it
	Task         string    `json:"task,omitempty"`    // "" if it cannot be read
	TaskID       string    `json:"task_id,omitempty"` // "" if it cannot be read
	Redeliveries int       `json:"redeliveries"`      // see broker.Delivery
	Raw          []byte    `json:"raw"`               // the message, in base64
}

// ErrNoLetter says that there is no dead letter of an id.
var ErrNoLetter = errors.New("no such dead letter")

// letter writes a dead letter. Its id comes from the claim, so that it is the same letter when
// it is written once more.
func (c *Consumer) letter(d broker.DeadLetter) (id string, text []byte, err error) {
	claim := sha256.Sum256([]byte(d.Tag))
	l := Letter{
		ID: hex.EncodeToString(claim[:8]), Queue: d.Queue, Reason: d.Reason, Time: d.At.UTC(),
		Hostname: c.cfg.Hostname, Redeliveries: d.Redeliveries, Raw: d.Raw,
	}
	if task, _ := protocol.DecodeTask(d.Raw, protocol.Accept{}); task != nil {
		l.Task, l.TaskID = task.Name, task.ID
	}
	text, err = json.Marshal(l)
	return l.ID, text, err
}

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

// Get returns one dead letter, or ErrNoLetter.
func (d *DeadLetters) Get(ctx context.Context, id string) (Letter, error) {
	letters, err := d.read(ctx, []string{id})
	if err != nil {
		return Letter{}, err
	}
	if len(letters) == 0 {
		return Letter{}, fmt.Errorf("%q: %w", id, ErrNoLetter)
	}
	return letters[0], nil
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
//	ARGV  per letter: id, message, places in KEYS of its list and the queue's two
//	      binding sets, binding
//	return the ids of those moved
var replayScript = redisconn.NewScript(-1, `
local done = {}
for i = 1, #ARGV, 6 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('SADD', KEYS[tonumber(ARGV[i + 3])], ARGV[i + 5])
    redis.call('SADD', KEYS[tonumber(ARGV[i + 4])], ARGV[i + 5])
    redis.call('LPUSH', KEYS[tonumber(ARGV[i + 2])], ARGV[i + 1])
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    done[#done + 1] = ARGV[i]
  end
end
return done
`)

// Replay puts dead letters back at the end of the queues they came from, byte for byte
// and each exactly once, and returns their ids. Ids without a letter are left out.
func (d *DeadLetters) Replay(ctx context.Context, ids ...string) (replayed []string, err error) {
	for batch := range slices.Chunk(ids, moveBatch) {
		letters, err := d.read(ctx, batch)
		if err != nil {
			return replayed, err
		}
		done, err := redis.Strings(d.pipe.Script(ctx, replayScript, d.replayArgs(letters)...))
		replayed = append(replayed, done...)
		if err != nil {
			return replayed, err
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
	var args []any
	for _, l := range letters {
		msg, _ := protocol.DecodeMessage(l.Raw) // what cannot be read has priority 0
		exchange, member := d.keys.declaration(broker.Queue{Name: l.Queue})
		args = append(args, l.ID, l.Raw, place(d.keys.list(l.Queue, d.keys.step(msg.Properties.Priority))),
			place(d.keys.bindings(exchange)), place(d.keys.permanent(exchange)), member)
	}
	return slices.Concat([]any{len(keys)}, keys, args)
}

// dropScript deletes dead letters.
//
//	KEYS  1 apium.dlq, 2 apium.dlq.index
//	ARGV  ids
//	return the ids of those deleted
var dropScript = redisconn.NewScript(2, `
local done = {}
for i = 1, #ARGV do
  if redis.call('HDEL', KEYS[1], ARGV[i]) == 1 then done[#done + 1] = ARGV[i] end
  redis.call('ZREM', KEYS[2], ARGV[i])
end
return done
`)

// Drop deletes dead letters and returns their ids. Ids without a letter are left out.
func (d *DeadLetters) Drop(ctx context.Context, ids ...string) (dropped []string, err error) {
	for batch := range slices.Chunk(ids, maxBatch) {
		args := redis.Args{d.keys.letters(), d.keys.letterIndex()}.AddFlat(batch)
		done, err := redis.Strings(d.pipe.Script(ctx, dropScript, args...))
		dropped = append(dropped, done...)
		if err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}
