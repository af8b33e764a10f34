package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

var _ broker.Asker = (*Publisher)(nil)

// bindingTTL is how long kombu 5.7 and later lets the routing table of a reply exchange
// live when nobody renews it: what a killed process leaves behind goes with it.
const bindingTTL = time.Hour

// awaitScript binds a reply queue, and has kombu sweep the table some time.
//
//	KEYS  1 binding set, 2 _kombu.binding_deadlines
//	ARGV  1 binding, 2 exchange, 3 when it may be swept, in ms since the epoch
var awaitScript = redisconn.NewScript(2, `
redis.call('SADD', KEYS[1], ARGV[1])
local old = redis.call('ZSCORE', KEYS[2], ARGV[2])
if not old or tonumber(old) < tonumber(ARGV[3]) then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2]) end
return 1
`)

// forgoScript undoes it.
//
//	KEYS  1 binding set, 2 _kombu.binding_deadlines, then the queue's lists
//	ARGV  1 binding, 2 exchange
var forgoScript = redisconn.NewScript(-1, redisconn.UnlinkLua+`
redis.call('SREM', KEYS[1], ARGV[1])
for i = 3, #KEYS do unlink(KEYS[i]) end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('ZREM', KEYS[2], ARGV[2]) end
return 1
`)

// replies reads one list over a connection of its own, as it blocks.
type replies struct {
	p        *Publisher
	conn     redis.Conn
	queue    string
	exchange string
	binding  string
	over     bool // the time was over as a reply came
}

// AwaitReplies binds a queue to a direct exchange and listens at it.
func (p *Publisher) AwaitReplies(ctx context.Context, q broker.Queue) (broker.Replies, error) {
	conn, err := p.redis.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("redisbroker: %w", err)
	}
	r := &replies{p: p, conn: conn, queue: q.Name}
	r.exchange, r.binding = p.keys.declaration(q)
	_, err = p.pipe.Script(ctx, awaitScript,
		p.keys.bindings(r.exchange), p.keys.deadlines(), r.binding, r.exchange, time.Now().Add(bindingTTL).UnixMilli())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bind queue %q: %w", q.Name, closedError(err)), conn.Close())
	}
	return r, nil
}

// Next reads the list of the most urgent priority only: replies have it.
func (r *replies) Next(ctx context.Context) (broker.Content, error) {
	if r.over {
		return broker.Content{}, context.DeadlineExceeded
	}
	stop := context.AfterFunc(ctx, func() { r.conn.Close() })
	reply, err := redis.ByteSlices(redis.DoWithTimeout(r.conn, 0, "BRPOP", r.p.keys.list(r.queue, 0), 0))
	r.over = !stop()
	switch {
	case ctx.Err() != nil && err != nil:
		return broker.Content{}, ctx.Err()
	case err != nil:
		return broker.Content{}, fmt.Errorf("read queue %q: %w", r.queue, closedError(err))
	}
	return content(reply[1]), nil // after the name of the list
}

func (r *replies) Close(ctx context.Context) error {
	r.conn.Close()
	args := []any{0, r.p.keys.bindings(r.exchange), r.p.keys.deadlines()}
	for _, list := range r.p.keys.lists(r.queue) {
		args = append(args, list)
	}
	args[0] = len(args) - 1
	if _, err := r.p.pipe.Script(ctx, forgoScript, append(args, r.binding, r.exchange)...); err != nil {
		return fmt.Errorf("remove queue %q: %w", r.queue, closedError(err))
	}
	return nil
}
