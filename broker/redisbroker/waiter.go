package redisbroker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// waitTimeout is how long the server keeps a waiter's command, unless all has been quiet (longwait.go).
const waitTimeout = time.Second

// waitMargin is how much later its answer may come: a busy server answers late.
const waitMargin = 3 * time.Second

// waiter blocks on one list, on a connection of its own.
type waiter struct {
	list, inbox string
	armed       chan struct{}   // token: block now
	ctx         context.Context //nolint:containedctx // ends the goroutine
	cancel      context.CancelFunc
	conn        redis.Conn               // owned by the goroutine Consumer.wait
	client      atomic.Int64             // CLIENT ID of conn, negative while it is not blocked; 0: unknown
	broken      atomic.Int64             // when its connection failed last, Unix milliseconds
	brokenLong  atomic.Int64             // … while its command blocked for long
	ended       atomic.Int64             // when its goroutine ended, Unix milliseconds; 0: it runs
	claims      claims                   // owned by the goroutine, and by Close when that has ended
	knowsScript bool                     // the server knows takeMovedScript
	unblocks    bool                     // the server unblocks it when asked to
	quiet       int                      // commands that have timed out in a row
	cuts        int                      // long waits in a row whose connection was lost
	bearable    time.Duration            // for which its connection may be silent
	long        atomic.Pointer[longWait] // the command that is on, if it blocks for long
}

func newWaiter(ctx context.Context, list, inbox string) *waiter {
	w := &waiter{list: list, inbox: inbox, armed: make(chan struct{}, 1), bearable: longestWait}
	w.ctx, w.cancel = context.WithCancel(ctx)
	return w
}

// over tells whether no command of a waiter could be blocked in the server at a time.
func (w *waiter) over(at time.Time) bool {
	return w.unblocked(at) && w.brokenLong.Load() <= at.Add(-2*longestWait).UnixMilli()
}

// unblocked tells that but for commands that give back what they move when our sign of life is gone.
func (w *waiter) unblocked(at time.Time) bool {
	ended := w.ended.Load()
	return ended != 0 && ended <= at.UnixMilli() && w.broken.Load() <= at.Add(-2*waitTimeout).UnixMilli()
}

// wait is the goroutine of one waiter.
func (c *Consumer) wait(w *waiter) {
	ctx := w.ctx
	defer func() { w.ended.Store(time.Now().UnixMilli()) }()
	defer w.close()
	defer context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		c.unblockOne(ctx, w)
	})()
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
	w.unblocks = false
	if err == nil {
		w.unblocks, err = canUnblock(ctx, conn, id)
		return err
	}
	return nil
}

func (w *waiter) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// block waits for a message for some time and moves it to the inbox. raw is what was claimed, if there is an order to.
func (w *waiter) block(order *take, patience time.Duration) (moved bool, raw []byte, err error) {
	start, broken := time.Now(), &w.broken
	if patience > waitTimeout {
		w.long.Store(&longWait{w.conn, order.delivery.Tag})
		defer w.long.Store(nil)
		broken = &w.brokenLong
	}
	w.client.Store(-w.client.Load())
	reply, err := w.receiveMoved(order, patience)
	w.client.Store(-w.client.Load())
	if err == nil && order != nil {
		raw, err = w.receiveTaken()
	}
	took := time.Since(start)
	if err == nil && patience > waitTimeout {
		w.cuts = 0
	}
	switch {
	case err != nil:
		broken.Store(time.Now().UnixMilli())
		if w.quiet = 0; patience > waitTimeout {
			if w.cuts++; w.cuts > 1 {
				w.bearable = min(w.bearable, max(took/2, leastLong))
			}
		}
	case reply != nil || took < patience-patience/8: // it was unblocked
		w.quiet = 0
	default:
		w.quiet++
	}
	return reply != nil && err == nil, raw, err
}

func (w *waiter) receiveMoved(order *take, patience time.Duration) (any, error) {
	if err := w.conn.Send("BRPOPLPUSH", w.list, w.inbox, int(patience/time.Second)); err != nil {
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
	reply, err := redis.ReceiveWithTimeout(w.conn, patience+waitMargin)
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
