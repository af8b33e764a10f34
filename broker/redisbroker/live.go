package redisbroker

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// A worker shows signs of life: a key that lapses after Config.AliveFor unless a beat
// renews it. Beats come three times as often, and so do peers' looks (peers.go).
//
// life is what the worker knows of its own sign of life.
type life struct {
	lasts  time.Duration
	lease  atomic.Pointer[broker.Lease]
	lapsed chan struct{} // token: the term has changed
}

func newLife(lasts time.Duration) *life {
	l := &life{lasts: lasts, lapsed: make(chan struct{}, 1)}
	l.lease.Store(&broker.Lease{})
	return l
}

func (l *life) beatEvery() time.Duration { return l.lasts / 3 }

// good tells whether nobody can take us for dead now.
func (l *life) good() bool { return l.lease.Load().Good(time.Now()) }

// confirmed notes a beat that Redis has answered, and when it was sent. lapsed says that
// the key had been missing. Where no beat was confirmed for as long as the key lasts, it
// may have been missing, too, although this beat found it: an earlier one, whose answer
// was lost, may have made it anew.
func (l *life) confirmed(sent time.Time, lapsed bool) (news bool) {
	for {
		old := l.lease.Load()
		now := &broker.Lease{Term: old.Term, Until: sent.Add(l.lasts)}
		news = lapsed || !old.Good(sent)
		switch {
		case news:
			now.Term++
		case now.Until.Before(old.Until):
			return false // another one was sent later
		}
		if l.lease.CompareAndSwap(old, now) {
			break
		}
	}
	if news {
		put(l.lapsed)
	}
	return news
}

var _ broker.Leaser = (*Consumer)(nil)

// Lease says until when nobody hands back what was claimed in its term.
func (c *Consumer) Lease() broker.Lease { return *c.life.lease.Load() }

// LeaseLasts is the visibility timeout.
func (c *Consumer) LeaseLasts() time.Duration { return c.cfg.VisibilityTimeout }

// Lapsed carries a token when the term has changed.
func (c *Consumer) Lapsed() <-chan struct{} { return c.life.lapsed }

// Beat has the sign of life renewed soon.
func (c *Consumer) Beat() { put(c.stray) }

// registration is what peers and operators read in apium.workers.
type registration struct {
	Hostname string   `json:"hostname"`
	PID      int      `json:"pid"`
	Queues   []string `json:"queues"`
	Private  []string `json:"private,omitempty"` // lists that nobody else reads, and their inboxes
}

// beatScript renews a worker's sign of life, registers it unless that stands, empties the inboxes, and looks whether
// anything else is to be done (known.go). What renews the key comes first: it works out of memory, too, and so does
// what follows a write.
//
//	KEYS  1 liveness key, 2 apium.workers, 3 apium.parked, 4 unacked_index, then pairs of list and inbox
//	ARGV  1 epoch, which never goes down, 2 milliseconds to live, 3 id, 4 registration,
//	      5 start of the liveness keys, 6 few, 7 start of the indices of what is parked,
//	      then tags under which waiters claim
//	return 0 if the key was missing, number of the few registered workers whose key is missing, when the first parked
//	message is due, score of the oldest claim ("": there is none), number of lists and inboxes that there were, and of
//	the tags that are claims
var beatScript = redisconn.NewScript(-1, giveBackLua+missingLua+`
local alive = redis.call('PEXPIRE', KEYS[1], ARGV[2])
if alive == 0 or tonumber(redis.call('GET', KEYS[1])) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if redis.call('HGET', KEYS[2], ARGV[3]) ~= ARGV[4] then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
end
local there, claimed = 0, 0
if #KEYS > 4 then there = redis.call('EXISTS', unpack(KEYS, 5)) end
if there > 0 then give_back(5) end
for i = 8, #ARGV do
  if redis.call('ZSCORE', KEYS[4], ARGV[i]) then claimed = claimed + 1 end
end
local due, oldest = math.huge, redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
for _, queue in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  local first = redis.call('ZRANGE', ARGV[7] .. queue, 0, 0, 'WITHSCORES')
  due = math.min(due, tonumber(first[2]) or 0) -- a queue that has none is to be forgotten
end
return {alive, #missing(KEYS[2], ARGV[5], ARGV[6], {}), due < math.huge and string.format('%.6f', due) or '', oldest[2] or '', there, claimed}
`)

// withdrawScript takes a worker out, with nothing left in its inboxes.
//
//	KEYS  1 liveness key, 2 apium.workers, then pairs of list and inbox
//	ARGV  1 id, 2 "1" = stay registered: peers shall look for messages still held
var withdrawScript = redisconn.NewScript(-1, giveBackLua+`
give_back(3)
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '1' then redis.call('HDEL', KEYS[2], ARGV[1]) end
return 1
`)

// register shows a sign of life under an epoch. A worker that was frozen, or whose Redis
// was away for long, is registered again; its lease then has a new term, as what it held
// may have been handed back.
func (c *Consumer) register(ctx context.Context, epoch uint64) error {
	layout := c.layout.Load()
	reg := registration{Hostname: c.cfg.Hostname, PID: os.Getpid(), Private: layout.private}
	for _, s := range layout.sources {
		reg.Queues = append(reg.Queues, s.Name)
	}
	text, err := json.Marshal(reg)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	inboxes := c.waits.inboxes()
	args := make([]any, 0, 12+len(inboxes))
	args = append(args, 4+len(inboxes), c.aliveKey, c.keys.workers(), c.keys.parkedQueues(), c.keys.index)
	args = append(args, inboxes...)
	args = append(args, epoch, c.cfg.AliveFor.Milliseconds(), c.id, text, c.keys.alive(""), lookFew, c.keys.parked(""))
	args = append(args, c.waits.taken()...)
	first := c.Lease().Term == 0
	parks, sent := c.known.parks(), time.Now()
	reply, err := redis.Values(c.pipe.Script(ctx, beatScript, args...))
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	alive, saw, err := readBeat(reply)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	saw.at = sent
	c.known.learn(saw, parks)
	if saw.empty {
		c.waits.saw(sent)
	}
	if saw.missing {
		put(c.missed)
	}
	if c.life.confirmed(sent, !alive) && !first {
		c.log.Warn("The sign of life had lapsed: peers may have handed back messages held here", "id", c.id)
		c.peersDoubtful()
	}
	return nil
}

// keepAlive beats until the consumer closes. After a failure it beats again as soon as
// there is a connection, and after one that came late, too.
func (c *Consumer) keepAlive() {
	for attempt := 0; ; {
		start := time.Now()
		err := c.register(c.ctx, c.epoch.Load())
		switch {
		case c.ctx.Err() != nil:
			return
		case err != nil:
			c.peersDoubtful()
			c.troubles.report(c.log, troubleBeat, err)
			pause(c.ctx, min(attempt, 2))
			attempt++
			continue
		default:
			attempt = 0
			c.waits.reap(start)
			c.troubles.over(c.log, troubleBeat)
			if c.known.isUnheard() {
				c.unblock(c.ctx)
			}
		}
		if !c.life.good() {
			continue // it waited for its connection
		}
		every := c.life.beatEvery()
		if c.waits.isLong() { // all is quiet, and Claim looks in between
			every += every / 10
		}
		timer := time.NewTimer(every - time.Since(start))
		select {
		case <-timer.C:
		case <-c.stray:
		case <-c.ctx.Done():
		}
		timer.Stop()
		if c.ctx.Err() != nil {
			return
		}
	}
}

func (c *Consumer) withdraw(ctx context.Context) error {
	inboxes := c.waits.inboxes()
	args := make([]any, 0, 5+len(inboxes))
	args = append(args, 2+len(inboxes), c.aliveKey, c.keys.workers())
	args = append(args, inboxes...)
	stay := "0"
	if c.held.Load() > 0 && !c.cfg.NoAckEmulation {
		stay = "1"
	}
	_, err := c.pipe.Script(ctx, withdrawScript, append(args, c.id, stay)...)
	if private := c.layout.Load().private; err == nil && stay == "0" && len(private) > 0 {
		_, err = c.pipe.Do(ctx, "DEL", redis.Args{}.AddFlat(private)...)
	}
	return err
}
