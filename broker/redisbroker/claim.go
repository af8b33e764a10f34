package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// claimer is the state of Claim; its one caller at a time owns it.
type claimer struct {
	claims
	layout  *layout   // the one that cycle was made from
	cycle   []*source // order of the queues, rotated by round_robin
	emptied time.Time // when a waiter had claimed all that there was
}

// claims are what a caller of Claim or Due will be given before anything else.
type claims struct {
	unsure  span // tags of a claim whose answer was lost
	pending []broker.Delivery
}

// none tells whether there are none, for sure.
func (c *claims) none() bool { return len(c.pending) == 0 && c.unsure.n == 0 }

// take returns up to limit pending deliveries.
func (c *claims) take(limit int) []broker.Delivery {
	n := min(len(c.pending), limit)
	ds := c.pending[:n:n]
	c.pending = c.pending[n:]
	return ds
}

// span is a range of tag numbers.
type span struct{ first, n uint64 }

var errUnregistered = errors.New("redisbroker: the registration has lapsed")

// Claim returns between 1 and limit (at most 1000) deliveries, blocking until
// there is one. While Redis is away it waits and tries again, until it has been given up
// (Config.MaxReconnects).
func (c *Consumer) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	return c.ClaimWithout(ctx, limit, nil)
}

// ClaimWithout implements [broker.Chooser].
func (c *Consumer) ClaimWithout(ctx context.Context, limit int, without func(queue string) bool) ([]broker.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("redisbroker: claim of %d messages", limit)
	}
	ctx, cancel := c.whileOpen(ctx)
	defer cancel()
	c.claiming.Lock()
	defer c.claiming.Unlock()
	c.waits.begin()
	defer c.endClaim()
	began := time.Now()
	for attempt := 0; ; {
		var err error
		ds := c.claim.take(limit)
		if len(ds) == 0 && (without != nil || c.isToLook(began)) {
			asked := time.Now()
			if ds, err = c.claimOnce(ctx, min(limit, maxBatch), without); len(ds) == 0 && err == nil && without == nil {
				c.waits.saw(asked)
			}
		}
		switch {
		case len(ds) > 0:
			c.held.Add(int64(len(ds)))
			c.countRedeliveries(ctx, ds)
			if c.cfg.OnClaim != nil {
				c.cfg.OnClaim(len(ds))
			}
			return ds, nil
		case err == nil:
			attempt = 0
			c.troubles.over(c.log, troubleClaim)
			err = c.idle(ctx, c.claim.waitsOn(without))
			if handed := c.takeHanded(); len(handed) > 0 {
				c.claim.pending, c.claim.emptied = append(c.claim.pending, handed...), time.Now()
				continue
			}
		case errors.Is(err, errUnregistered):
			err = c.register(ctx, c.epoch.Load())
		}
		if c.ctx.Err() != nil {
			return nil, broker.ErrClosed
		}
		if c.reach.Err() != nil {
			return nil, context.Cause(c.reach)
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

// endClaim gives back what a waiter has claimed at the last moment.
func (c *Consumer) endClaim() {
	if c.waits.end() {
		put(c.stray)
	}
	if handed := c.takeHanded(); len(handed) > 0 && c.undo(c.ctx, handed) != nil {
		c.claim.pending = append(c.claim.pending, handed...)
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
func (c *Consumer) claimOnce(ctx context.Context, limit int, without func(queue string) bool) ([]broker.Delivery, error) {
	if err := c.recoverClaims(ctx, &c.claim.claims); err != nil {
		return nil, err
	}
	if ds := c.claim.take(limit); len(ds) > 0 {
		return ds, nil
	}
	if now := c.layout.Load(); now != c.claim.layout {
		c.claim.layout, c.claim.cycle = now, slices.Clone(now.cycle) // as kombu, which starts its cycle anew
	}
	cycle := c.claim.chosen(without)
	for len(cycle) > 0 {
		first, term, now := c.newTags(limit), c.Lease().Term, time.Now()
		args := c.claimArgs(cycle, limit, first)
		reply, err := c.ask(ctx, &c.claim.claims, span{first, uint64(limit)}, claimScript, args)
		if err != nil {
			return nil, err
		}
		parts, _ := reply.([]any)
		if len(parts) != 3 {
			ds, err := c.deliveries(cycle, parts, first)
			for i := range ds {
				ds[i].Term, ds[i].Claimed = term, now
			}
			return ds, err
		}
		if err := c.moveAway(ctx, cycle, parts, args); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// chosen is the cycle without some of its queues.
func (c *claimer) chosen(without func(queue string) bool) []*source {
	if without == nil {
		return slices.Clone(c.cycle)
	}
	return slices.DeleteFunc(slices.Clone(c.cycle), func(s *source) bool { return without(s.Name) })
}

// waitsOn tells which lists to wait on; nil: all.
func (c *claimer) waitsOn(without func(queue string) bool) func(list string) bool {
	if without == nil {
		return nil
	}
	chosen := c.chosen(without)
	return func(list string) bool {
		return slices.ContainsFunc(chosen, func(s *source) bool { return slices.Contains(s.lists, list) })
	}
}

// moveAway buries the message that a claim stopped at, given the queues that were asked, its
// answer and arguments.
func (c *Consumer) moveAway(ctx context.Context, cycle []*source, parts, args []any) error {
	n, _ := parts[2].(int64)
	const before = 3 // KEYS before the lists; the first argument is their number
	if n < 1 || int(n) > len(cycle)*len(c.keys.steps) {
		return fmt.Errorf("redisbroker: unexpected answer to a claim: %v", parts)
	}
	list, _ := args[before+n].(string)
	return c.buryUnread(ctx, list, cycle[(int(n)-1)%len(cycle)])
}

// newTags reserves n numbers of tags and returns the first. They are never used
// twice, whatever becomes of the claim.
func (c *Consumer) newTags(n int) uint64 { return c.nextTag.Add(uint64(n)) - uint64(n) }

// ask runs a script that records claims under tags. If its answer is lost, claims
// remember what to look for.
func (c *Consumer) ask(ctx context.Context, claims *claims, tags span, script *redisconn.Script, args []any) (any, error) {
	asked, cancel := outlive(ctx, claimGrace)
	defer cancel()
	reply, err := c.pipe.Script(asked, script, args...)
	if err != nil {
		if redisconn.MayHaveRun(err) && !c.cfg.NoAckEmulation {
			claims.unsure = tags
		}
		return nil, err
	}
	if reply == nil {
		return nil, errUnregistered
	}
	return reply, nil
}

// claimArgs returns KEYS (with their number) and ARGV of claimScript.
func (c *Consumer) claimArgs(cycle []*source, limit int, first uint64) []any {
	inboxes := c.waits.suspects()
	lists := len(cycle) * len(c.keys.steps)
	args := make([]any, 0, 12+lists+len(inboxes)+len(cycle))
	args = append(args, 3+lists+len(inboxes), c.aliveKey, c.keys.unacked, c.keys.index)
	for step := range c.keys.steps {
		for _, s := range cycle {
			args = append(args, s.lists[step])
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
		lists, len(cycle), rotate)
	for _, s := range cycle {
		args = append(args, s.tail)
	}
	return args
}

// deliveries reads the answer of claimScript, whose picks count in the order of places, and turns
// the cycle as far as the script did.
func (c *Consumer) deliveries(places []*source, parts []any, first uint64) ([]broker.Delivery, error) {
	if len(parts) != 2 {
		return nil, fmt.Errorf("redisbroker: unexpected answer to a claim: %v", parts)
	}
	picks, _ := parts[0].([]any)
	raws, _ := parts[1].([]any)
	if len(picks) != len(raws) {
		return nil, fmt.Errorf("redisbroker: answer to a claim has %d queues for %d messages", len(picks), len(raws))
	}
	ds := make([]broker.Delivery, len(raws))
	tags := c.tags(first, len(raws))
	fresh := false
	for i := range raws {
		place, _ := picks[i].(int64)
		raw, isText := raws[i].([]byte)
		if !isText || place < 1 || int(place) > len(places)*len(c.keys.steps) {
			return nil, fmt.Errorf("redisbroker: unexpected message in the answer to a claim: %v", raws[i])
		}
		step, n := (int(place)-1)/len(places), (int(place)-1)%len(places)
		s := places[n]
		fresh = s.delivered(step) || fresh
		ds[i] = broker.Delivery{Tag: tags[i], Queue: s.Name, Content: content(raw)}
		if c.cfg.QueueOrderStrategy == RoundRobin {
			moveToEnd(c.claim.cycle, s)
		}
	}
	if fresh {
		c.changing.Lock()
		c.layOutWaiters(c.layout.Load().sources)
		c.changing.Unlock()
	}
	return ds, nil
}

func moveToEnd(cycle []*source, s *source) {
	i := slices.Index(cycle, s)
	copy(cycle[i:], cycle[i+1:])
	cycle[len(cycle)-1] = s
}

// recoverClaims finds out what a claim did whose answer was lost:
//
//  1. The claim was sent, and the connection broke or the caller stopped waiting.
//  2. The claim may have run, may never run, or may still be on its way.
//  3. We raise the epoch in our liveness key: from now on the old claim cannot run.
//     Another one that is on its way is refused and made again.
//  4. What it claimed, if it ran, is recorded under tags that only we know.
func (c *Consumer) recoverClaims(ctx context.Context, claims *claims) error {
	lost := claims.unsure
	if lost.n == 0 {
		return nil
	}
	if err := c.register(ctx, c.epoch.Add(1)); err != nil {
		return err
	}
	var found []broker.Delivery
	term := c.Lease().Term
	for tags := c.tags(lost.first, int(lost.n)); len(tags) > 0; {
		records, err := c.records(ctx, tags)
		if err != nil {
			return err
		}
		found = append(found, c.recorded(tags, records, term)...)
		tags = tags[len(records):]
	}
	claims.pending = append(claims.pending, found...)
	claims.unsure = span{}
	return nil
}

// recorded returns the deliveries of our own records, claimed in a term; nil is none.
func (c *Consumer) recorded(tags []string, records [][]byte, term uint64) []broker.Delivery {
	var ds []broker.Delivery
	for i, text := range records {
		if text == nil {
			continue
		}
		e, err := decodeEntry(text)
		if err != nil {
			c.log.Error("Cannot read a claimed message back; the sweep will remove it", "tag", tags[i], "error", err)
			continue
		}
		ds = append(ds, broker.Delivery{Tag: tags[i], Queue: c.queueOf(e.routingKey), Content: content(e.raw), Term: term})
	}
	return ds
}

// tags returns n tags, all parts of one string.
func (c *Consumer) tags(first uint64, n int) []string {
	const digits = 20
	size := len(c.tagPrefix) + len(strconv.FormatUint(first+uint64(n), 10))
	var all strings.Builder
	all.Grow(n * size)
	tags := make([]string, n)
	for i := range tags {
		var number [digits]byte
		start := all.Len()
		all.WriteString(c.tagPrefix)
		all.Write(strconv.AppendUint(number[:0], first+uint64(i), 10))
		tags[i] = all.String()[start:]
	}
	return tags
}

// score is a time as kombu scores it: Python's time.time().
func score(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', 6, 64)
}
