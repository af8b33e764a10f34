package redisbroker

import (
	"context"
	"errors"
	"slices"
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
	ctx   context.Context //nolint:containedctx // parent of the waiters'
	poll  time.Duration
	inbox func(n int) string // names the n-th inbox; no name is used twice

	mu      sync.Mutex
	all     []*waiter     // of the queues that are consumed
	retired []*waiter     // of queues that were cancelled, until reap
	made    int           // inboxes named so far
	pairs   []any         // lists and inboxes of all of them, as KEYS of scripts; replaced, never changed
	waiting bool          // a Claim is on: a moved message is its business
	blocked int           // waiters whose command is on
	touched bool          // an inbox may hold a message that no script has looked for
	moved   chan struct{} // token: a waiter has moved one, or the queues have changed
}

// waiter blocks on one list.
type waiter struct {
	list, inbox string
	armed       chan struct{}   // token: block now
	ctx         context.Context //nolint:containedctx // ends the goroutine
	cancel      context.CancelFunc
	started     atomic.Bool
	conn        redis.Conn   // owned by the goroutine Consumer.wait
	client      atomic.Int64 // CLIENT ID of conn, negative while it is not blocked; 0: unknown
	broken      atomic.Int64 // when its connection failed last, Unix milliseconds
	ended       atomic.Int64 // when its goroutine ended, Unix milliseconds; 0: it runs
}

func newWaits(ctx context.Context, poll time.Duration, inbox func(n int) string) *waits {
	return &waits{ctx: ctx, poll: poll, inbox: inbox, moved: make(chan struct{}, 1)}
}

func newWaiter(ctx context.Context, list, inbox string) *waiter {
	w := &waiter{list: list, inbox: inbox, armed: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.ended.Store(1) // it is not running yet
	return w
}

// layOut makes waiters for lists that have none, and retires those of lists that are
// no longer waited on: they end within waitTimeout.
func (w *waits) layOut(lists []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kept []*waiter
	for _, one := range w.all {
		if slices.Contains(lists, one.list) {
			kept = append(kept, one)
		} else {
			one.cancel()
			w.retired = append(w.retired, one)
		}
	}
	for _, list := range lists {
		if slices.ContainsFunc(kept, func(one *waiter) bool { return one.list == list }) {
			continue
		}
		kept = append(kept, newWaiter(w.ctx, list, w.inbox(w.made)))
		w.made++
	}
	w.all = kept
	w.pair()
}

// unstarted returns the waiters without a goroutine.
func (w *waits) unstarted() []*waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.all), func(one *waiter) bool { return one.started.Load() })
}

// reap forgets retired waiters that can move nothing any more, given a time at which
// their inboxes were known to be empty. It tells whether there were any.
func (w *waits) reap(emptied time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.retired)
	w.retired = slices.DeleteFunc(w.retired, func(one *waiter) bool { return one.over(emptied) })
	w.pair()
	return len(w.retired) < n
}

// pair lists the inboxes anew. w.mu is held.
func (w *waits) pair() {
	w.pairs = nil
	for _, one := range slices.Concat(w.all, w.retired) {
		w.pairs = append(w.pairs, one.list, one.inbox)
	}
}

// inboxes returns pairs of list and inbox, as KEYS of scripts.
func (w *waits) inboxes() []any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pairs
}

// each returns the waiters, retired ones included.
func (w *waits) each() []*waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Concat(w.all, w.retired)
}

// waitLists returns the lists to wait on, step by step.
func waitLists(sources []*source) []string {
	var all []string
	if len(sources) == 0 {
		return nil
	}
	for step := range sources[0].lists {
		for _, s := range sources {
			all = append(all, s.lists[step])
		}
	}
	if len(all) <= waiterLimit {
		return all
	}
	return all[:min(len(sources), waiterLimit)]
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

// report makes a Claim that waits look again: an inbox may hold a message, or the
// queues are others. It returns false if no Claim waits.
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

// suspects returns the pairs of list and inbox if a script that is sent now may find
// messages there. A command left over in the server is the keeper's concern.
func (w *waits) suspects() []any {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.touched {
		return nil
	}
	w.touched = w.blocked > 0
	return w.pairs
}

// wait arms the waiters and blocks until a message has been moved, or it is time to look again.
func (w *waits) wait(ctx context.Context) error {
	w.mu.Lock()
	for _, one := range w.all {
		put(one.armed)
	}
	w.mu.Unlock()
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
	now := time.Now()
	return !slices.ContainsFunc(w.each(), func(one *waiter) bool { return !one.over(now) })
}

// over tells whether no command of a waiter could be blocked in the server at a time.
func (w *waiter) over(at time.Time) bool {
	ended := w.ended.Load()
	return ended != 0 && ended <= at.UnixMilli() && w.broken.Load() <= at.Add(-3*waitTimeout).UnixMilli()
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

// startWaiters starts the goroutines of waiters that are registered. c.changing is held.
func (c *Consumer) startWaiters(all []*waiter) {
	for _, w := range all {
		w.started.Store(true)
		w.ended.Store(0)
		c.wg.Go(func() { c.wait(w) })
	}
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
		for moved := false; !moved && ctx.Err() == nil && c.waits.start(); {
			err := w.dial(ctx, c.cfg.Redis)
			if err == nil {
				moved, err = w.block()
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
		for _, w := range c.waits.each() {
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
