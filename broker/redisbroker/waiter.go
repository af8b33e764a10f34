package redisbroker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// waitTimeout is how long the server keeps a waiter's command.
const waitTimeout = time.Second

// waitMargin is how much later its answer may come: a busy server answers late.
const waitMargin = 3 * time.Second

// waiter blocks on one list, on a connection of its own.
type waiter struct {
	list, inbox string
	armed       chan struct{}   // token: block now
	ctx         context.Context //nolint:containedctx // ends the goroutine
	cancel      context.CancelFunc
	conn        redis.Conn   // owned by the goroutine Consumer.wait
	client      atomic.Int64 // CLIENT ID of conn, negative while it is not blocked; 0: unknown
	broken      atomic.Int64 // when its connection failed last, Unix milliseconds
	ended       atomic.Int64 // when its goroutine ended, Unix milliseconds; 0: it runs
	claims      claims       // owned by the goroutine, and by Close when that has ended
	knowsScript bool         // the server knows takeMovedScript
}

func newWaiter(ctx context.Context, list, inbox string) *waiter {
	w := &waiter{list: list, inbox: inbox, armed: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(ctx)
	return w
}

// over tells whether no command of a waiter could be blocked in the server at a time.
func (w *waiter) over(at time.Time) bool {
	ended := w.ended.Load()
	return ended != 0 && ended <= at.UnixMilli() && w.broken.Load() <= at.Add(-2*waitTimeout).UnixMilli()
}

// wait is the goroutine of one waiter.
func (c *Consumer) wait(w *waiter) {
	ctx := w.ctx
	defer func() { w.ended.Store(time.Now().UnixMilli()) }()
	defer w.close()
	for attempt := 0; ; {
		select {
		case <-w.armed:
		case <-ctx.Done():
			return
		}
		for moved, taken := false, false; !moved && !taken && ctx.Err() == nil && c.life.good() && c.waits.start(); {
			err := w.dial(ctx, c.redis)
			if err == nil {
				moved, taken, err = c.block(w)
			}
			c.waits.stop()
			if err != nil {
				w.close()
				c.troubles.report(c.log, troubleWait, err)
				pause(ctx, attempt)
				attempt++
				moved = true // perhaps; and Claim polls until it arms us again
			} else {
				attempt = 0
				c.troubles.over(c.log, troubleWait)
			}
			if moved && !c.waits.report() {
				put(c.stray)
			}
		}
	}
}

// dial connects unless connected, and learns the connection's number, with which
// Close can unblock it (Redis 5 and later; without it, Close waits for the timeout).
func (w *waiter) dial(ctx context.Context, cfg *redisconn.Config) error {
	if w.conn != nil {
		return nil
	}
	conn, err := cfg.Dial(ctx)
	if err != nil {
		return err
	}
	w.conn = conn
	id, err := redis.Int64(redis.DoContext(conn, ctx, "CLIENT", "ID"))
	var refused redis.Error
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	w.client.Store(-id)
	return nil
}

func (w *waiter) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// block waits for a message and moves it to the inbox. raw is what was claimed, if there is an order to.
func (w *waiter) block(order *take) (moved bool, raw []byte, err error) {
	w.client.Store(-w.client.Load())
	reply, err := w.receiveMoved(order)
	w.client.Store(-w.client.Load())
	if err == nil && order != nil {
		raw, err = w.receiveTaken()
	}
	if err != nil {
		w.broken.Store(time.Now().UnixMilli())
	}
	return reply != nil && err == nil, raw, err
}

func (w *waiter) receiveMoved(order *take) (any, error) {
	if err := w.conn.Send("BRPOPLPUSH", w.list, w.inbox, int(waitTimeout/time.Second)); err != nil {
		return nil, err
	}
	if order != nil {
		if err := takeMovedScript.Send(w.conn, !w.knowsScript, order.args...); err != nil {
			return nil, err
		}
	}
	if err := w.conn.Flush(); err != nil {
		return nil, err
	}
	reply, err := redis.ReceiveWithTimeout(w.conn, waitTimeout+waitMargin)
	if err != nil {
		err = redisconn.Explained(err, "BRPOPLPUSH", w.list, w.inbox)
	}
	return reply, err
}

// unblockWaiters asks the server to end the waiters' commands, until all have ended.
func (c *Consumer) unblockWaiters(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(ended)
	}()
	for {
		for _, w := range c.waits.each() {
			if id := w.client.Load(); id > 0 {
				// A server that cannot do it lets the command time out.
				_, _ = c.pipe.Do(ctx, "CLIENT", "UNBLOCK", id)
			}
		}
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
