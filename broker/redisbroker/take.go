package redisbroker

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// The only waiter of an idle worker claims what it moves at once: behind the command that blocks it
// has sent takeMovedScript, which Redis runs as soon as that command is answered. So the claim costs
// no round trip. The script takes the one message that lies in the inbox, and only if there is
// nothing else to choose from; in any other case the message stays there, and Claim looks at
// everything in kombu's order.
//
//   - While such a command is under way, Claim waits for it and does not look itself: it could
//     take, and return first, what came later. The waiter reports when its command has timed out.
//   - The message comes when Claim does not wait any more: the waiter gives it back. A Claim that
//     begins meanwhile waits for that.
//   - The answer is lost: the waiter finds out what its script did, as Claim would, before it
//     blocks again.
//   - The command has timed out, and another worker's has moved a message since: that is taken
//     all the same.

// takeMovedScript claims the message in an inbox. It leaves one that is larger than 64 KiB, or no object,
// to claimScript. If the sign of life is another, or has lapsed, what is in the inbox goes back: who has moved it may be dead,
// and nobody else may know of the inbox.
//
//	KEYS  1 liveness key, 2 unacked, 3 unacked_index, 4 list, 5 inbox, then all other lists and inboxes
//	ARGV  1 epoch, 2 score, 3 tag ("" = claim nothing), 4 end of its entry
//	return the message; nil: it was not claimed
var takeMovedScript = redisconn.NewScript(-1, `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  local held = redis.call('LRANGE', KEYS[5], 0, -1)
  if #held > 0 then
    redis.call('RPUSH', KEYS[4], unpack(held))
    redis.call('DEL', KEYS[5])
  end
  return false
end
if ARGV[3] == '' or redis.call('LLEN', KEYS[5]) ~= 1 then return false end
if redis.call('EXISTS', KEYS[4], unpack(KEYS, 6)) > 0 then return false end
local raw = redis.call('LRANGE', KEYS[5], 0, 0)[1]
if #raw > 65536 or string.byte(raw, 1) ~= 123 or string.byte(raw, -1) ~= 125 then return false end
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[3])
redis.call('HMSET', KEYS[2], ARGV[3], '[' .. raw .. ARGV[4])
redis.call('DEL', KEYS[5])
return raw
`)

// takeMost bounds the lists and inboxes that are looked at for one message. Where there are more, Claim
// looks.
const takeMost = 64

// take is what a waiter sends behind its command.
type take struct {
	args     []any
	tag      uint64
	delivery broker.Delivery // but for the message
}

// newTake returns what a waiter is to send behind a command that claims; nil: nothing.
func (c *Consumer) newTake(w *waiter) *take {
	sources := c.layout.Load().sources
	i := slices.IndexFunc(sources, func(s *source) bool { return slices.Contains(s.lists, w.list) })
	if i < 0 {
		return nil
	}
	others := c.waits.startTake(w)
	if others == nil {
		return nil
	}
	now, tag := time.Now(), c.newTags(1)
	t := &take{tag: tag, delivery: broker.Delivery{
		Tag: c.tags(tag, 1)[0], Queue: sources[i].Name, Term: c.Lease().Term, Claimed: now,
	}}
	t.args = append(c.takeArgs(w, others), score(now), t.delivery.Tag, sources[i].tail)
	return t
}

// newGuard returns what a waiter is to send behind a command that blocks for long and does not claim.
func (c *Consumer) newGuard(w *waiter) *take {
	return &take{args: append(c.takeArgs(w, nil), "", "", "")}
}

// takeArgs returns KEYS (with their number) and the epoch for takeMovedScript.
func (c *Consumer) takeArgs(w *waiter, others []any) []any {
	args := append(make([]any, 0, 10+len(others)), 5+len(others), c.aliveKey, c.keys.unacked, c.keys.index, w.list, w.inbox)
	return append(append(args, others...), strconv.FormatUint(c.epoch.Load(), 10))
}

// block has a waiter wait for a message. It tells whether Claim is to look, as one may lie in the inbox,
// and whether the waiter has claimed one.
func (c *Consumer) block(w *waiter) (look, taken bool, err error) {
	t, patience := c.newTake(w), c.patience(w)
	if t == nil {
		if patience > waitTimeout {
			t = c.newGuard(w)
		}
		look, _, err = w.block(t, patience)
		return look, false, err
	}
	defer c.waits.endTake()
	w.claims.unsure = span{t.tag, 1}
	_, raw, err := w.block(t, patience)
	if err == nil {
		w.claims.unsure = span{}
	}
	if raw != nil {
		t.delivery.Content = content(raw)
		w.claims.pending = append(w.claims.pending, t.delivery)
	}
	c.handOver(w)
	return raw == nil, raw != nil, err
}

// handOver gives what a waiter has claimed, or may have claimed, to Claim if that is on, and else
// back. What is left when the consumer closes, Close gives back.
func (c *Consumer) handOver(w *waiter) {
	for attempt := 0; c.ctx.Err() == nil; attempt++ {
		err := c.recoverClaims(c.ctx, &w.claims)
		if err == nil {
			err = c.pass(w.claims.pending)
		}
		if err == nil {
			w.claims.pending = nil
			return
		}
		c.troubles.report(c.log, troubleWait, err)
		pause(c.ctx, attempt)
	}
}

// pass gives claimed messages to Claim if that is on, and else back.
func (c *Consumer) pass(ds []broker.Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	c.waits.giving.Lock()
	defer c.waits.giving.Unlock()
	if c.waits.hand(ds) {
		return nil
	}
	return c.undo(c.ctx, ds)
}

// undo gives back what Claim has not returned.
func (c *Consumer) undo(ctx context.Context, ds []broker.Delivery) error {
	c.held.Add(int64(len(ds)))
	err := c.Unclaim(ctx, ds...)
	if err != nil {
		c.held.Add(int64(-len(ds)))
	}
	return err
}

// takesLocked tells whether the only waiter claims what it moves. w.mu is held.
func (w *waits) takesLocked() bool {
	return w.able && len(w.all) == 1 && len(w.pairs) <= takeMost && w.poll >= waitTimeout
}

// startTake returns all lists and inboxes but those of a waiter, which is to claim what it moves; nil: it
// is not. endTake follows.
func (w *waits) startTake(one *waiter) []any {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.takes {
		return nil
	}
	w.taking++
	return slices.DeleteFunc(append(make([]any, 0, len(w.pairs)), w.pairs...), func(key any) bool { return key == one.list || key == one.inbox })
}

func (w *waits) endTake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taking--
}

// justEmptied is how long nobody looks after a waiter has claimed all that there was: what it has claimed
// is to be acknowledged, and a look would be in the way.
const justEmptied = time.Millisecond

// isToLook tells whether a Claim that began at a time is to look itself: no waiter claims what it moves, or the
// queues are others, or its answer does not come.
func (c *Consumer) isToLook(began time.Time) bool {
	c.waits.mu.Lock()
	defer c.waits.mu.Unlock()
	free := c.waits.taking == 0 && time.Since(c.claim.emptied) > justEmptied
	return free || c.layout.Load() != c.claim.layout || time.Since(began) > 2*waitTimeout
}

// hand gives claimed messages to Claim. It reports false if that is not on.
func (w *waits) hand(ds []broker.Delivery) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.claim {
		w.handed = append(w.handed, ds...)
		w.wakeLocked()
	}
	return w.claim
}

// takeHanded returns what waiters have handed over, and turns the cycle as claimScript would have.
func (c *Consumer) takeHanded() []broker.Delivery {
	c.waits.mu.Lock()
	ds := c.waits.handed
	c.waits.handed = nil
	c.waits.mu.Unlock()
	if c.cfg.QueueOrderStrategy != RoundRobin {
		return ds
	}
	for _, d := range ds {
		if i := slices.IndexFunc(c.claim.cycle, func(s *source) bool { return s.Name == d.Queue }); i >= 0 {
			moveToEnd(c.claim.cycle, c.claim.cycle[i])
		}
	}
	return ds
}

// receiveTaken reads the answer to takeMovedScript; nil: nothing was claimed.
func (w *waiter) receiveTaken() ([]byte, error) {
	raw, err := redis.Bytes(redis.ReceiveWithTimeout(w.conn, waitMargin))
	var refused redis.Error
	if err == nil || errors.Is(err, redis.ErrNil) || errors.As(err, &refused) {
		w.knowsScript = !redisconn.IsNoScript(err)
		return raw, nil
	}
	return nil, err
}
