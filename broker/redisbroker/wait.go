package redisbroker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/apium/apium/broker"
)

// An idle Claim must learn of a message at once, and a message must never be in
// a Go variable only. So waiters block, each on one list, in
//
//	BRPOPLPUSH list inbox 1
//
// which moves a message to the list's inbox; the claim script then puts what lies
// in the inboxes back to the tails it came from and claims in kombu's order.
// Taking part in the queue of blocked clients is what gives us our share beside
// Python workers: Redis serves those who block in the order they came.
//
// An inbox belongs to its list, not to a worker: whoever consumes the list empties it,
// with every beat and once a second while it waits. So a message in an inbox is never
// further from being served than that, whatever became of the worker whose waiter
// moved it, and there is no inbox without an owner.
//
// The sequences that matter:
//
//   - A message comes while Claim is waiting: its waiter moves and claims it (take.go), or, if there is
//     more to choose from, moves it and reports, and Claim runs the script. What Claim's limit leaves over
//     goes back in the same script.
//   - Another worker's script comes first: it gives the message back and may claim it.
//     Ours then finds nothing and waits again.
//   - A message comes to a waiter still blocked after Claim has returned: the
//     waiter sees that nobody is waiting and wakes the keeper, which gives the
//     message back. The waiter does not block again before a Claim has found
//     nothing, so it can hold up one message for two round trips, once.
//   - Two messages come at once, for two waiters: Claim's script may run between
//     the two moves. The second report finds no Claim waiting, or leaves a token
//     that Claim hands to the keeper when it ends.
//   - Claim's own connection hangs: it is in its script and not waiting, so no waiter
//     blocks again; what the last one moved, others find.
//   - The connection breaks after the server moved a message and before we heard:
//     the waiter reports after every error.
//   - The server still holds a blocked command of a connection that we gave up:
//     its timeout ends it within a second, and beats and looks come later than that. One that
//     blocks for longer (longwait.go) gives back what it moves once our sign of life has lapsed.
//   - Close: waiters are unblocked and end before the inboxes are given back for
//     the last time; if a connection broke just before, Close waits until the server
//     has given up its command.
//   - We are killed: the others who consume the list find the message. Nobody does
//     while there are none; a worker that starts looks first.

// lookEvery is how often the inboxes are emptied although no waiter of ours was blocked:
// another worker's may have been.
const lookEvery = time.Second

// waits is what Claim and the waiters share.
type waits struct {
	poll  time.Duration
	inbox func(list string) string
	able  bool // claims are recorded, so that a waiter can make one

	mu      sync.Mutex
	all     []*waiter         // of the lists that are waited on
	retired []*waiter         // of lists that are not any more, until reap
	lists   []string          // all that are consumed
	pairs   []any             // lists and their inboxes, those of retired waiters too, as KEYS of scripts; replaced, never changed
	claim   bool              // a Claim is on: a moved message is its business
	idle    bool              // it waits
	any     bool              // for messages of any queue
	takes   bool              // it waits for whatever comes: a waiter may claim for it
	taking  int               // waiters that do
	handed  []broker.Delivery // what they have claimed
	giving  sync.Mutex        // held while what they have claimed is given back, and before mu
	blocked int               // waiters whose command is on
	touched bool              // an inbox may hold a message that no script has looked for
	looked  time.Time         // when a script last looked into the inboxes
	empty   time.Time         // when all lists and inboxes were last seen to be empty
	moved   chan struct{}     // token: a waiter has moved one, or the queues have changed
}

func newWaits(poll time.Duration, inbox func(list string) string) *waits {
	return &waits{poll: poll, inbox: inbox, moved: make(chan struct{}, 1)}
}

// layOut takes the lists that are consumed and those of them to wait on, and retires the
// waiters of other lists: they end within waitTimeout. It returns the waiters that are
// to be started.
func (w *waits) layOut(ctx context.Context, lists, waitOn []string) (fresh []*waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists = lists
	var kept []*waiter
	for _, one := range w.all {
		if slices.Contains(waitOn, one.list) {
			kept = append(kept, one)
		} else {
			one.cancel()
			w.retired = append(w.retired, one)
		}
	}
	for _, list := range waitOn {
		if !slices.ContainsFunc(kept, func(one *waiter) bool { return one.list == list }) {
			fresh = append(fresh, newWaiter(ctx, list, w.inbox(list)))
		}
	}
	w.all = slices.Concat(kept, fresh)
	w.pair()
	return fresh
}

// reap forgets retired waiters that can move nothing any more, given a time at which
// their inboxes were known to be empty.
func (w *waits) reap(emptied time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.retired)
	w.retired = slices.DeleteFunc(w.retired, func(one *waiter) bool { return one.over(emptied) })
	if len(w.retired) < n {
		w.pair()
	}
}

// pair lists the inboxes anew. w.mu is held.
func (w *waits) pair() {
	w.pairs = nil
	for _, list := range w.lists {
		w.pairs = append(w.pairs, list, w.inbox(list))
	}
	for _, one := range w.retired {
		if !slices.Contains(w.pairs, any(one.list)) {
			w.pairs = append(w.pairs, one.list, one.inbox)
		}
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

// begin is called when a Claim starts.
func (w *waits) begin() {
	w.giving.Lock()
	defer w.giving.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claim = true
}

// end is called when a Claim returns, and tells whether an inbox may hold a message.
func (w *waits) end() (stray bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claim = false
	return drain(w.moved)
}

// report makes a Claim look again: an inbox may hold a message, or the queues are
// others. It returns false if no Claim is on.
func (w *waits) report() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.claim {
		w.wakeLocked()
	}
	return w.claim
}

// wakeLocked ends the waiting of Claim. No waiter blocks until it waits again.
func (w *waits) wakeLocked() {
	put(w.moved)
	w.idle, w.takes = false, false
}

// forAny tells whether a Claim waits for messages of any queue.
func (w *waits) forAny() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.idle && w.any && len(w.handed) == 0
}

// start tells a waiter whether a Claim wants it to block, and counts it.
func (w *waits) start() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle {
		w.blocked++
		w.touched = true
	}
	return w.idle
}

func (w *waits) stop() {
	w.mu.Lock()
	w.blocked--
	w.mu.Unlock()
}

// suspects returns the pairs of list and inbox if a script that is sent now may find
// messages there.
func (w *waits) suspects() []any {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !w.touched && now.Sub(w.looked) < lookEvery {
		return nil
	}
	w.touched, w.looked = w.blocked > 0, now
	return w.pairs
}

// wait arms the waiters, or those of certain lists, and blocks until a message has been moved, or
// it is time to look again.
func (w *waits) wait(ctx context.Context, on func(list string) bool) (moved bool, err error) {
	w.mu.Lock()
	if drain(w.moved) { // before a waiter may block again
		w.mu.Unlock()
		return true, nil
	}
	w.idle, w.any = true, on == nil
	w.takes = on == nil && w.takesLocked()
	poll := w.poll
	if w.takes || on == nil && w.longLocked() { // a waiter reports before, or a beat looks
		poll = max(time.Until(w.empty.Add(poll+poll/8)), poll/8)
	}
	for _, one := range w.all {
		if on == nil || on(one.list) {
			put(one.armed)
		}
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.idle, w.takes = false, false
		w.mu.Unlock()
	}()
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-w.moved:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// clean tells whether no command of ours can be blocked in the server any more.
func (w *waits) clean() bool {
	now := time.Now()
	return !slices.ContainsFunc(w.each(), func(one *waiter) bool { return !one.unblocked(now) })
}

// awaitClean waits until no command of ours can be blocked in the server, and tells
// whether that is so.
func (w *waits) awaitClean(ctx context.Context) bool {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !w.clean() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
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
