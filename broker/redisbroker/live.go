package redisbroker

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// Signs of life. A worker's liveness key lapses after aliveFor unless a beat
// renews it. Peers look as often as we beat.
const (
	beatEvery = 2 * time.Second
	aliveFor  = 6 * time.Second
)

// registration is what peers and operators read in apium.workers.
type registration struct {
	Hostname string      `json:"hostname"`
	PID      int         `json:"pid"`
	Queues   []string    `json:"queues"`
	Inboxes  [][2]string `json:"inboxes"`           // list and inbox
	Private  []string    `json:"private,omitempty"` // lists that nobody else reads
}

// registerScript announces a worker under an epoch.
//
//	KEYS  1 liveness key, 2 apium.workers
//	ARGV  1 epoch, which never goes down, 2 seconds to live, 3 id, 4 registration
var registerScript = redisconn.NewScript(2, `
local epoch = redis.call('GET', KEYS[1])
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('SETEX', KEYS[1], ARGV[2], ARGV[1])
return 1
`)

// beatScript renews a worker's sign of life and empties its inboxes, which hold
// something only if a report of a waiter was lost or came late.
//
//	KEYS  1 liveness key, then pairs of list and inbox
//	ARGV  1 seconds to live
//	return 0 if the key had lapsed
var beatScript = redisconn.NewScript(-1, giveBackLua+`
local alive = redis.call('EXPIRE', KEYS[1], ARGV[1]) -- first: it works out of memory too
give_back(2)
return alive
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

func (c *Consumer) register(ctx context.Context, epoch uint64) error {
	layout := c.layout.Load()
	reg := registration{Hostname: c.cfg.Hostname, PID: os.Getpid(), Private: layout.private}
	for _, s := range layout.sources {
		reg.Queues = append(reg.Queues, s.Name)
	}
	for _, w := range c.waits.each() {
		reg.Inboxes = append(reg.Inboxes, [2]string{w.list, w.inbox})
	}
	text, err := json.Marshal(reg)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	_, err = c.pipe.Script(ctx, registerScript, c.aliveKey, c.keys.workers(), epoch, int(aliveFor/time.Second), c.id, text)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}

// keepAlive beats until the consumer closes.
func (c *Consumer) keepAlive() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.stray:
		case <-c.ctx.Done():
			return
		}
		start := time.Now()
		err := c.beat(c.ctx)
		if err == nil {
			err = c.tidy(start)
		}
		switch {
		case c.ctx.Err() != nil:
			return
		case err != nil:
			c.peersDoubtful()
			c.troubles.report(c.log, troubleBeat, err)
		default:
			c.troubles.over(c.log, troubleBeat)
		}
	}
}

// tidy registers anew if waiters were retired or have not been started, given a time
// before the inboxes were emptied.
func (c *Consumer) tidy(emptied time.Time) error {
	if reaped := c.waits.reap(emptied); !reaped && len(c.waits.unstarted()) == 0 {
		return nil
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	return c.announce(c.ctx)
}

// beat renews the sign of life. A worker that was frozen, or whose Redis was away
// for long, registers again; what was handed back meanwhile, Ack and Extend tell.
func (c *Consumer) beat(ctx context.Context) error {
	inboxes := c.waits.inboxes()
	args := make([]any, 0, 3+len(inboxes))
	args = append(args, 1+len(inboxes), c.aliveKey)
	args = append(args, inboxes...)
	alive, err := redis.Int(c.pipe.Script(ctx, beatScript, append(args, int(aliveFor/time.Second))...))
	if err != nil || alive == 1 {
		return err
	}
	c.log.Warn("The sign of life had lapsed: peers may have handed back messages held here", "id", c.id)
	c.peersDoubtful()
	return c.register(ctx, c.epoch.Load())
}

func (c *Consumer) withdraw(ctx context.Context) error {
	inboxes := c.waits.inboxes()
	args := make([]any, 0, 4+len(inboxes))
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
