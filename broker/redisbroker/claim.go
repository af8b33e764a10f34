package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// claimer is the state of Claim; its one caller at a time owns it.
type claimer struct {
	next    uint64 // number of the next tag
	cycle   []int  // order of the queues (indices into Config.Queues), rotated by round_robin
	tails   []any  // ends of the entries, by queue
	unsure  span   // tags of a claim whose answer was lost
	pending []broker.Delivery
}

// span is a range of tag numbers.
type span struct{ first, n uint64 }

var errUnregistered = errors.New("redisbroker: the registration has lapsed")

// Claim returns between 1 and limit (at most 1000) deliveries, blocking until
// there is one. While Redis is away it waits and tries again.
func (c *Consumer) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("redisbroker: claim of %d messages", limit)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	c.claiming.Lock()
	defer c.claiming.Unlock()
	c.waits.begin()
	defer func() {
		if c.waits.end() {
			put(c.stray)
		}
	}()
	for attempt := 0; ; {
		ds, err := c.claimOnce(ctx, min(limit, maxBatch))
		switch {
		case len(ds) > 0:
			c.held.Add(int64(len(ds)))
			if c.cfg.OnClaim != nil {
				c.cfg.OnClaim(len(ds))
			}
			return ds, nil
		case err == nil:
			attempt = 0
			c.troubles.over(c.log, troubleClaim)
			err = c.waits.wait(ctx)
		case errors.Is(err, errUnregistered):
			err = c.register(ctx, c.epoch.Load())
		}
		if c.ctx.Err() != nil {
			return nil, broker.ErrClosed
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			c.troubles.report(c.log, troubleClaim, err)
			pause(ctx, attempt)
			attempt++
		}
	}
}

// claimGrace is how long a claim that was sent is waited for when its caller stops.
// What it brings is then returned, and given back in order with all else that has not
// started; given back by Close, it would be served before what was claimed earlier.
const claimGrace = time.Second

// outlive returns a context that ends the given time after ctx does.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return longer, func() { stop(); cancel() }
}

// claimOnce claims what is there now.
func (c *Consumer) claimOnce(ctx context.Context, limit int) ([]broker.Delivery, error) {
	if c.claim.unsure.n > 0 {
		if err := c.recoverClaim(ctx); err != nil {
			return nil, err
		}
	}
	if n := min(len(c.claim.pending), limit); n > 0 {
		ds := c.claim.pending[:n:n]
		c.claim.pending = c.claim.pending[n:]
		return ds, nil
	}
	first := c.claim.next
	c.claim.next += uint64(limit) // numbers are never used twice, whatever becomes of this claim
	asked, cancel := outlive(ctx, claimGrace)
	defer cancel()
	reply, err := c.pipe.Script(asked, claimScript, c.claimArgs(limit, first)...)
	if err != nil {
		if mayHaveRun(err) && !c.cfg.NoAckEmulation {
			c.claim.unsure = span{first, uint64(limit)}
		}
		return nil, err
	}
	if reply == nil {
		return nil, errUnregistered
	}
	return c.deliveries(reply, first)
}

// claimArgs returns KEYS (with their number) and ARGV of claimScript.
func (c *Consumer) claimArgs(limit int, first uint64) []any {
	var inboxes []any
	if c.waits.mayHold() {
		inboxes = c.inboxPairs
	}
	lists := len(c.claim.cycle) * len(c.keys.steps)
	args := make([]any, 0, 12+lists+len(inboxes)+len(c.claim.cycle))
	args = append(args, 3+lists+len(inboxes), c.aliveKey, c.keys.unacked, c.keys.index)
	for step := range c.keys.steps {
		for _, q := range c.claim.cycle {
			args = append(args, c.lists[q][step])
		}
	}
	args = append(args, inboxes...)
	prefix, rotate := c.tagPrefix, "0"
	if c.cfg.NoAckEmulation {
		prefix = ""
	}
	if c.cfg.QueueOrderStrategy == RoundRobin {
		rotate = "1"
	}
	args = append(args, strconv.FormatUint(c.epoch.Load(), 10), limit, score(time.Now()), prefix, first,
		lists, len(c.claim.cycle), rotate)
	for _, q := range c.claim.cycle {
		args = append(args, c.claim.tails[q])
	}
	return args
}

// deliveries reads the answer of claimScript and turns the cycle as far as the script did.
func (c *Consumer) deliveries(reply any, first uint64) ([]broker.Delivery, error) {
	parts, err := redis.Values(reply, nil)
	if err != nil || len(parts) != 2 {
		return nil, fmt.Errorf("redisbroker: unexpected answer to a claim: %v", reply)
	}
	picks, _ := parts[0].([]any)
	raws, _ := parts[1].([]any)
	if len(picks) != len(raws) {
		return nil, fmt.Errorf("redisbroker: answer to a claim has %d queues for %d messages", len(picks), len(raws))
	}
	ds := make([]broker.Delivery, len(raws))
	tags := c.tags(first, len(raws))
	places := append([]int(nil), c.claim.cycle...) // the picks count in the order that was sent
	for i := range raws {
		place, _ := picks[i].(int64)
		raw, isText := raws[i].([]byte)
		if !isText || place < 1 || int(place) > len(places) {
			return nil, fmt.Errorf("redisbroker: unexpected message in the answer to a claim: %v", raws[i])
		}
		q := places[place-1]
		ds[i] = broker.Delivery{Tag: tags[i], Queue: c.cfg.Queues[q].Name, Raw: raw}
		if c.cfg.QueueOrderStrategy == RoundRobin {
			moveToEnd(c.claim.cycle, q)
		}
	}
	return ds, nil
}

func moveToEnd(cycle []int, q int) {
	for i, other := range cycle {
		if other == q {
			copy(cycle[i:], cycle[i+1:])
			cycle[len(cycle)-1] = q
			return
		}
	}
}

// recoverClaim finds out what a claim did whose answer was lost:
//
//  1. The claim was sent, and the connection broke or the caller stopped waiting.
//  2. The claim may have run, may never run, or may still be on its way.
//  3. We raise the epoch in our liveness key: from now on the old claim cannot run.
//  4. What it claimed, if it ran, is recorded under tags that only we know.
func (c *Consumer) recoverClaim(ctx context.Context) error {
	if err := c.register(ctx, c.epoch.Add(1)); err != nil {
		return err
	}
	lost := c.claim.unsure
	args := make([]any, 0, 1+lost.n)
	args = append(args, c.keys.unacked)
	tags := c.tags(lost.first, int(lost.n))
	for _, tag := range tags {
		args = append(args, tag)
	}
	entries, err := redis.ByteSlices(c.pipe.Do(ctx, "HMGET", args...))
	if err != nil {
		return err
	}
	for i, text := range entries {
		if text == nil {
			continue
		}
		tag := tags[i]
		e, err := decodeEntry(text)
		if err != nil {
			c.log.Error("Cannot read a claimed message back; the sweep will remove it", "tag", tag, "error", err)
			continue
		}
		c.claim.pending = append(c.claim.pending, broker.Delivery{Tag: tag, Queue: e.routingKey, Raw: e.raw})
	}
	c.claim.unsure = span{}
	return nil
}

// mayHaveRun tells whether a script that failed may still have done its work.
func mayHaveRun(err error) bool {
	var server redis.Error
	if errors.As(err, &server) {
		return false // it stopped before it removed anything
	}
	var conn *redisconn.ConnError
	return !errors.As(err, &conn) || conn.Op != "connect"
}

// tags returns n tags, all parts of one string.
func (c *Consumer) tags(first uint64, n int) []string {
	const digits = 20
	text := make([]byte, 0, n*(len(c.tagPrefix)+digits))
	ends := make([]int, n)
	for i := range n {
		text = strconv.AppendUint(append(text, c.tagPrefix...), first+uint64(i), 10)
		ends[i] = len(text)
	}
	all, start := string(text), 0
	tags := make([]string, n)
	for i, end := range ends {
		tags[i], start = all[start:end], end
	}
	return tags
}

// score is a time as kombu scores it: Python's time.time().
func score(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', 6, 64)
}
