package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

var _ broker.Broadcaster = (*Publisher)(nil)

// Broadcast sends messages to fanout exchanges, in order and in one round trip. What the
// server's ACL forbids is refused, as nobody waits for it.
func (p *Publisher) Broadcast(ctx context.Context, messages ...broker.Publication) error {
	all := slices.Clone(messages)
	for i := range all {
		all[i].ExchangeType = broker.Fanout
	}
	err := p.Publish(ctx, all...)
	var conn *redisconn.ConnError
	if redisconn.IsConfig(err) && !errors.As(err, &conn) {
		return &broker.RefusedError{Publication: all[0], Err: err}
	}
	return err
}

// Subscribe hears what is broadcast until ctx is done or the publisher is closed. Its
// connection is its own, made again after every failure; a server that has fallen
// silent is noticed as it is by other connections (see connection.Options). The queue
// is bound while a subscription is on, and unbound at the end.
func (p *Publisher) Subscribe(ctx context.Context, s broker.Subscription) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	b := broker.Queue{Name: s.Queue, Exchange: s.Exchange, ExchangeType: broker.Fanout, RoutingKey: s.BindingKey}
	exchange, member := p.keys.declaration(b)
	// Not in the permanent set: with the last queue, kombu may sweep this table away.
	register := func(ctx context.Context, cmd string) error {
		_, err := p.pipe.Do(ctx, cmd, p.keys.bindings(exchange), member)
		return err
	}
	heard := func(subscribed bool, err error) {
		if subscribed && s.Queue != "" {
			err = register(ctx, "SADD")
		}
		if s.OnState != nil {
			s.OnState(subscribed, err)
		}
	}
	handle := func(routingKey string, raw []byte) { s.Handle(routingKey, content(raw)) }
	t := p.keys.topic(b)
	if t.narrows && s.Only != nil {
		t.choice = &choice{changed: make(chan struct{}, 1)}
		go t.choice.follow(ctx, s.Only, func(key string) string { return p.keys.channel(b.Exchange, key) })
	}
	listen(ctx, p.redis, t, handle, heard)
	if p.ctx.Err() != nil {
		return broker.ErrClosed
	}
	if s.Queue != "" {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if err := register(last, "SREM"); err != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("unbind queue %q: %w", s.Queue, err))
		}
	}
	return ctx.Err()
}

// topic is what to subscribe to.
type topic struct {
	channel string  // of the exchange, without a routing key
	pattern string  // for PSUBSCRIBE
	narrows bool    // channels tell routing keys apart
	choice  *choice // nil: all of the pattern is heard
}

// topic returns what the channels of a fanout queue are called: kombu makes the
// pattern from the binding key by putting a star for every #.
func (k *keyspace) topic(q broker.Queue) topic {
	return topic{
		channel: k.channel(q.Exchange, ""), pattern: k.channel(q.Exchange, strings.ReplaceAll(q.RoutingKey, "#", "*")),
		narrows: k.patterns && q.RoutingKey != "",
	}
}

// listen subscribes, again and again, until ctx is done.
func listen(ctx context.Context, cfg *redisconn.Config, t topic, handle func(routingKey string, message []byte), state func(bool, error)) {
	var pace redisconn.Pace
	for refusals := 0; ctx.Err() == nil; {
		var heard time.Time
		err := hearOnce(ctx, cfg, t, handle, func(hears bool, err error) {
			heard = time.Now()
			state(hears, err)
		})
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errRefused):
			continue
		}
		state(false, err)
		if redisconn.IsConfig(err) || redisconn.IsRefused(err) {
			pauseUpTo(ctx, rarely, refusals)
			refusals++
			continue
		}
		if refusals = 0; !heard.IsZero() {
			pace.Lasted(time.Since(heard))
		}
		sleep(ctx, pace.Next())
	}
}

// rarely is how long is waited, at most, before something is tried again that only a
// change of the server's configuration mends.
const rarely = time.Minute

// hearOnce hears what one connection brings.
func hearOnce(ctx context.Context, cfg *redisconn.Config, t topic, handle func(routingKey string, message []byte), state func(bool, error)) error {
	var sending sync.Mutex
	conn, err := cfg.DialListener(ctx, func(conn redis.Conn) {
		sending.Lock()
		defer sending.Unlock()
		_ = redis.PubSubConn{Conn: conn}.Ping("") // who receives sees its failure
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	sub := redis.PubSubConn{Conn: conn}
	sending.Lock()
	err = sub.PSubscribe(t.pattern)
	sending.Unlock()
	if err != nil {
		return err
	}
	if t.choice != nil {
		done := make(chan struct{})
		defer close(done)
		go t.choice.apply(done, conn, t.pattern, &sending)
	}
	for subscribed := false; ; {
		switch m := sub.Receive().(type) {
		case error:
			if subscribed && t.choice.forgo(m) {
				return errRefused
			}
			return redisconn.Explained(m, "PSUBSCRIBE", t.pattern)
		case redis.Subscription:
			if !subscribed {
				state(true, nil)
			}
			subscribed = true
		case redis.Message:
			key, ours := strings.CutPrefix(m.Channel, t.channel)
			if ours && (key == "" || key[0] == '/') {
				handle(strings.TrimPrefix(key, "/"), m.Data)
			}
		}
	}
}
