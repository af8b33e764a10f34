package worker

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/apium/apium/tasks"
)

// Messages of unknown tasks are handed on: left in their queue, or forwarded to another,
// for workers that know the task. Some come back: nobody else is there, all others are
// busy, or two workers forward to each other. These are kept for a moment first.
const (
	keepFirst = 250 * time.Millisecond // and twice as long each time it comes back
	keepLast  = 2 * time.Second
	// keptMost is how many messages are kept. When so many are, nothing is claimed any
	// more, and all go back after keepFull: a long queue of unknown tasks is gone through
	// at this pace, so that known tasks behind them have their turn.
	keptMost = 1000
	keepFull = time.Second
	// leftAtOnce is how many messages a second go back to their queue without a wait.
	leftAtOnce = 1000
	// headStart is for how long nothing is claimed after a message that was kept has gone
	// back, headStartMost after many: a Python worker takes them one by one.
	headStart     = 5 * time.Millisecond
	headStartMost = 250 * time.Millisecond
	// handedOnKnown is how many messages are remembered at least; twice as many at most.
	handedOnKnown = 10_000
)

// keepOrHandOn hands a message on, or keeps it first.
func (w *Worker) keepOrHandOn(r *request, leave bool) {
	now := time.Now()
	wait := w.handedOn.next(r.ID + " " + strconv.Itoa(r.Retries))
	if wait == 0 && leave && !w.handedOn.atOnce(now) {
		wait = keepFull
	}
	if wait == 0 || r.unparked { // what was parked has waited already
		w.handOn(r)
		return
	}
	r.due, r.kept = now.Add(wait), true
	if !w.kept.add(r) {
		w.unstarted.add(r)
		return
	}
	if w.kept.len() >= keptMost {
		w.kept.hurry(now.Add(keepFull))
	}
}

// handOn gives a message to others, as the policy of its queue says.
func (w *Worker) handOn(r *request) {
	policy := w.unknownPolicy(r.Queue)
	if policy.Action == tasks.UnknownForward {
		w.log.forwarded(r, policy.Queue)
		w.settle(settlement{req: r, fate: forward, queue: policy.Queue, end: &outcome{kind: Forwarded}})
		return
	}
	w.log.task(slog.LevelDebug, r, "Task left", "Leaving task "+nameAndID(r.Task)+", which is not registered here, in queue "+r.Queue)
	s := settlement{req: r, fate: requeue, end: &outcome{kind: Left}}
	if w.mover != nil { // byte for byte: nobody has run it
		s.fate, s.queue = forward, r.Queue
	}
	w.settle(s)
}

// claimPause keeps the claim loop from claiming for a while.
type claimPause struct {
	mu        sync.Mutex
	until     time.Time
	interrupt context.CancelFunc // ends the claim under way; nil: there has been none
}

// extend pauses for longer, up to most from now, and interrupts a claim under way.
func (p *claimPause) extend(by, most time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.until.Before(now) {
		p.until = now
	}
	if p.until = p.until.Add(by); p.until.After(now.Add(most)) {
		p.until = now.Add(most)
	}
	if p.interrupt != nil {
		p.interrupt()
	}
}

// over waits until the pause is over, and returns the context of the next claim.
func (p *claimPause) over(ctx context.Context) (context.Context, context.CancelFunc) {
	for {
		p.mu.Lock()
		wait := time.Until(p.until)
		if wait <= 0 || ctx.Err() != nil {
			claim, cancel := context.WithCancel(ctx)
			p.interrupt = cancel
			p.mu.Unlock()
			return claim, cancel
		}
		p.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// handedOn remembers how often messages were handed on, without growing for ever.
type handedOn struct {
	mu     sync.Mutex
	counts map[string]int
	older  map[string]int // the counts before that

	second time.Time // when the count of left began
	left   int
}

// next says how long to keep a message first.
func (h *handedOn) next(message string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.counts == nil || len(h.counts) >= handedOnKnown {
		h.counts, h.older = make(map[string]int), h.counts
	}
	n, known := h.counts[message]
	if !known {
		n = h.older[message]
	}
	h.counts[message] = n + 1
	if n == 0 {
		return 0
	}
	return min(keepFirst<<min(n-1, 8), keepLast)
}

// atOnce tells whether one more message may go back to its queue in this second.
func (h *handedOn) atOnce(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.second) >= time.Second {
		h.second, h.left = now, 0
	}
	h.left++
	return h.left <= leftAtOnce
}
