package redisbroker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// An idle Claim must learn of a message at once, and a message must never be in
// a Go variable only. So waiters block, each on one list, in
//
//	BRPOPLPUSH list inbox 1
//
// which moves a message to a private list; the claim script then puts what lies
// in the inboxes back to the tails it came from and claims in kombu's order.
// Taking part in the queue of blocked clients is what gives us our share beside
// Python workers: Redis serves those who block in the order they came.
//
// The sequences that matter:
//
//   - A message comes while Claim is waiting: waiter moves it, reports, Claim runs
//     the script. What Claim's limit leaves over goes back in the same script.
//   - A message comes to a waiter still blocked after Claim has returned: the
//     waiter sees that nobody is waiting and wakes the keeper, which gives the
//     message back. The waiter does not block again before a Claim has found
//     nothing, so it can hold up one message for two round trips, once.
//   - Two messages come at once, for two waiters: Claim's script may run between
//     the two moves. The second report finds no Claim waiting, or leaves a token
//     that Claim hands to the keeper when it ends.
//   - The connection breaks after the server moved a message and before we heard:
//     the waiter reports after every error; the keeper empties the inboxes with
//     every beat in any case, and after our death peers do.
//   - The server still holds a blocked command of a connection that we gave up:
//     its timeout ends it within a second, and the beats come later than that.
//   - Close: waiters are unblocked and end before the inboxes are given back for
//     the last time. If one ended with an error its command may still be blocked
//     in the server, so the registration is left to lapse (see waits.clean).
const waitTimeout = time.Second

// waiterLimit is the number of lists waited on. With more, only base lists are,
// and the others are seen by the polls of an idle Claim.
const waiterLimit = 32

// waits is what Claim and the waiters share.
type waits struct {
	all  []*waiter
	poll time.Duration

	mu      sync.Mutex
	waiting bool          // a Claim is on: a moved message is its business
	blocked int           // waiters whose command is on
	touched bool          // an inbox may hold a message that no script has looked for
	moved   chan struct{} // token: a waiter has moved one
}

// waiter blocks on one list.
type waiter struct {
	list, inbox string
	armed       chan struct{} // token: block now
	conn        redis.Conn    // owned by the goroutine Consumer.wait
	client      atomic.Int64  // CLIENT ID of conn, negative while it is not blocked; 0: unknown
	broken      atomic.Int64  // when its connection failed last, Unix milliseconds
}

func newWaits(poll time.Duration) waits {
	return waits{poll: poll, moved: make(chan struct{}, 1)}
}

func (w *waits) add(list, inbox string) {
	w.all = append(w.all, &waiter{list: list, inbox: inbox, armed: make(chan struct{}, 1)})
}

// waitLists returns the lists to wait on, step by step.
func waitLists(lists [][]string) []string {
	var all []string
	for step := range lists[0] {
		for _, keys := range lists {
			all = append(all, keys[step])
		}
	}
	if len(all) <= waiterLimit {
		return all
	}
	return all[:min(len(lists), waiterLimit)]
}

// begin is called when a Claim starts.
func (w *waits) begin() {
	w.mu.Lock()
	w.waiting = true
	w.mu.Unlock()
}

// end is called when a Claim returns, and tells whether an inbox may hold a message.
func (w *waits) end() (stray bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
	return drain(w.moved)
}

// report is called when an inbox may hold a message. It returns false if no
// Claim is there to take it.
func (w *waits) report() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting {
		put(w.moved)
	}
	return w.waiting
}

// start tells a waiter whether a Claim wants it to block, and counts it.
func (w *waits) start() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting {
		w.blocked++
		w.touched = true
	}
	return w.waiting
}

func (w *waits) stop() {
	w.mu.Lock()
	w.blocked--
	w.mu.Unlock()
}

// mayHold tells whether a script that is sent now may find messages in the
// inboxes. A command left over in the server is the keeper's concern.
func (w *waits) mayHold() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	touched := w.touched
	w.touched = w.blocked > 0
	return touched
}

// wait arms the waiters and blocks until a message has been moved, or it is time to look again.
func (w *waits) wait(ctx context.Context) error {
	for _, one := range w.all {
		put(one.armed)
	}
	timer := time.NewTimer(w.poll)
	defer timer.Stop()
	select {
	case <-w.moved:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clean tells whether no command of ours can be blocked in the server any more.
func (w *waits) clean() bool {
	since := time.Now().Add(-3 * waitTimeout).UnixMilli()
	for _, one := range w.all {
		if one.broken.Load() > since {
			return false
		}
	}
	return true
}

// put leaves a token, if there is none.
func put(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// drain takes the token, if there is one.
func drain(token chan struct{}) bool {
	select {
	case <-token:
		return true
	default:
		return false
	}
}

// wait is the goroutine of one waiter.
func (c *Consumer) wait(w *waiter) {
	defer w.close()
	for attempt := 0; ; {
		select {
		case <-w.armed:
		case <-c.ctx.Done():
			return
		}
		for moved := false; !moved && c.ctx.Err() == nil && c.waits.start(); {
			err := w.dial(c.ctx, c.cfg.Redis)
			if err == nil {
				moved, err = w.block()
			}
			c.waits.stop()
			if err != nil {
				w.close()
				c.troubles.report(c.log, troubleWait, err)
				pause(c.ctx, attempt)
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

// block waits for a message and moves it to the inbox.
func (w *waiter) block() (moved bool, err error) {
	const margin = 5 * time.Second // a busy server answers late
	w.client.Store(-w.client.Load())
	reply, err := redis.DoWithTimeout(w.conn, waitTimeout+margin, "BRPOPLPUSH", w.list, w.inbox, int(waitTimeout/time.Second))
	w.client.Store(-w.client.Load())
	if err != nil {
		w.broken.Store(time.Now().UnixMilli())
	}
	return reply != nil && err == nil, err
}

// unblockWaiters asks the server to end the waiters' commands, until all have ended.
func (c *Consumer) unblockWaiters(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(ended)
	}()
	for {
		for _, w := range c.waits.all {
			if id := w.client.Load(); id > 0 {
				// A server that cannot do it lets the command time out.
				_, _ = c.pipe.Do(ctx, "CLIENT", "UNBLOCK", id)
			}
		}
		select {
		case <-ended:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
