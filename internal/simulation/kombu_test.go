package simulation_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	// shared is the queue that peers consume, too. What is in it is plain: tasks without a time, retries or others that follow.
	shared = "shared"
	// peerPrefix begins the names of peers.
	peerPrefix = "kombu"
	// visibilityTimeout is Celery's setting for all where there are peers: no task takes as long, but some wait so long for their turn.
	visibilityTimeout = 20 * time.Second
)

// A peer works as a worker on kombu's Redis transport does: it takes a message with BRPOP, registers it in a second
// step, acknowledges it before or after it runs, and from time to time puts back what others have held for too long.
// It dies at steps of its own choice, but not between the first two: what kombu loses there is nobody else's fault. Nor are
// its connections cut.
type peer struct {
	f      *fleet
	name   string
	conn   redis.Conn
	deadly int // it dies once in so many steps
}

// errDied ends a peer's life.
var errDied = errors.New("died")

// startPeer adds a peer, which is followed by another one when it dies.
func (f *fleet) startPeer(deadly int) {
	ctx, cancel := context.WithCancel(f.t.Context())
	ended := make(chan struct{})
	f.peers++
	line := f.peers
	go func() {
		defer close(ended)
		for life := 1; ctx.Err() == nil; life++ {
			name := fmt.Sprintf("%s%d.%d", peerPrefix, line, life)
			f.ledger.meet(name)
			p := &peer{f: f, name: name, deadly: deadly}
			if err := p.live(ctx); !errors.Is(err, errDied) && ctx.Err() == nil {
				f.t.Errorf("%s: %v", p.name, err)
				return
			}
		}
	}()
	f.closing = append(f.closing, func() { cancel(); <-ended })
}

func (p *peer) live(ctx context.Context) error {
	conn, err := p.f.network.Dialer(p.name)(ctx, "tcp", "redis:6379")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	p.conn = redis.NewConn(conn, 0, 0)
	defer p.conn.Close()
	for restored := time.Now(); ; {
		if err := p.turn(ctx); err != nil {
			return err
		}
		if time.Since(restored) > 10*time.Second {
			restored = time.Now()
			if err := p.restore(); err != nil {
				return err
			}
		}
	}
}

// step is a point at which the peer may die.
func (p *peer) step() error {
	if p.f.chance(p.deadly) {
		p.f.ledger.kill(p.name)
		fmt.Fprintf(p.f.log, "%s %s dies\n", since(time.Now()), p.name)
		return errDied
	}
	return nil
}

// turn waits for a message and runs it.
func (p *peer) turn(ctx context.Context) error {
	reply, err := redis.Strings(p.conn.Do("BRPOP", shared, shared+"\x06\x163", shared+"\x06\x166", shared+"\x06\x169", 1))
	if errors.Is(err, redis.ErrNil) {
		return p.step()
	}
	if err != nil {
		return err
	}
	var message struct {
		Body    string
		Headers struct{ Task string }
		Props   struct {
			Tag string `json:"delivery_tag"`
		} `json:"properties"`
	}
	if err := json.Unmarshal([]byte(reply[1]), &message); err != nil {
		return err
	}
	entry, err := json.Marshal([]any{json.RawMessage(reply[1]), "", shared})
	if err != nil {
		return err
	}
	tag := message.Props.Tag
	now := float64(time.Now().UnixMicro()) / 1e6
	if err := p.transaction([]any{"ZADD", "unacked_index", now, tag}, []any{"HSET", "unacked", tag, entry}); err != nil {
		return err
	}
	if err := p.step(); err != nil {
		return err
	}
	if message.Headers.Task == early {
		return errors.Join(p.acknowledge(tag), p.work(ctx, message.Body))
	}
	if err := p.work(ctx, message.Body); err != nil {
		return err
	}
	return p.acknowledge(tag)
}

func (p *peer) acknowledge(tag string) error {
	if err := p.transaction([]any{"ZREM", "unacked_index", tag}, []any{"HDEL", "unacked", tag}); err != nil {
		return err
	}
	return p.step()
}

// work runs a task's body.
func (p *peer) work(ctx context.Context, body string) error {
	text, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return err
	}
	var parts []json.RawMessage
	var args []any
	if err := errors.Join(json.Unmarshal(text, &parts), json.Unmarshal(parts[0], &args)); err != nil {
		return err
	}
	name, _ := args[0].(string)
	takes, _ := args[1].(float64)
	r := p.f.ledger.begin(attempt(name, 0), p.name)
	if err := sleep(ctx, milliseconds(int(takes))); err != nil {
		return err
	}
	if err := p.step(); err != nil {
		return err
	}
	p.f.ledger.end(r)
	return nil
}

// restore puts back what nobody has acknowledged for the visibility timeout, under kombu's mutex.
func (p *peer) restore() error {
	if got, err := p.conn.Do("SET", "unacked_mutex", p.name, "NX", "EX", 300); err != nil || got == nil {
		return err
	}
	if err := p.step(); err != nil {
		return err
	}
	ceiling := float64(time.Now().Add(-visibilityTimeout).UnixMicro()) / 1e6
	tags, err := redis.Strings(p.conn.Do("ZREVRANGEBYSCORE", "unacked_index", ceiling, 0, "LIMIT", 0, 10))
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := p.restoreOne(tag); err != nil {
			return err
		}
	}
	if owner, err := redis.String(p.conn.Do("GET", "unacked_mutex")); err != nil || owner != p.name {
		return noNil(err)
	}
	_, err = p.conn.Do("DEL", "unacked_mutex")
	return err
}

func noNil(err error) error {
	if errors.Is(err, redis.ErrNil) {
		return nil
	}
	return err
}

// restoreScript takes an entry out of unacked, if it is still what was read, and puts its message back if it has one. It
// stands for what kombu does in WATCH and MULTI: miniredis does not notice that HDEL changes what is watched.
//
//	KEYS  1 unacked, 2 unacked_index, 3 queue
//	ARGV  1 tag, 2 entry, "" if there was none, 3 message
//	return 0 if somebody else has changed it
var restoreScript = redis.NewScript(3, `
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('RPUSH', KEYS[3], ARGV[3]) end
return 1
`)

// restoreOne puts back one message. When somebody else touches it meanwhile, kombu begins again.
func (p *peer) restoreOne(tag string) error {
	for {
		entry, err := redis.Bytes(p.conn.Do("HGET", "unacked", tag))
		if err := errors.Join(noNil(err), p.step()); err != nil {
			return err
		}
		parts, queue := make([]json.RawMessage, 3), shared
		if len(entry) > 0 {
			if err := errors.Join(json.Unmarshal(entry, &parts), json.Unmarshal(parts[2], &queue)); err != nil {
				return err
			}
		}
		same, err := redis.Bool(restoreScript.Do(p.conn, "unacked", "unacked_index", queue, tag, entry, []byte(parts[0])))
		if err != nil || same {
			return err
		}
	}
}

// transaction runs commands in MULTI.
func (p *peer) transaction(commands ...[]any) error {
	if err := p.conn.Send("MULTI"); err != nil {
		return err
	}
	for _, c := range commands {
		if err := p.conn.Send(c[0].(string), c[1:]...); err != nil {
			return err
		}
	}
	_, err := redis.Values(p.conn.Do("EXEC"))
	return err
}
