package worker

import (
	"log/slog"
	"sync"
	"time"

	"github.com/apium/apium/tasks"
)

// handover gives messages that nothing here is to run to other workers: it
// leaves them in their queue or forwards them to another. Some come back: nobody else is
// there, all others are busy, or two workers forward to each other. These are kept for a
// moment first.
type handover struct {
	kept     *timetable
	known    handedOver
	policy   func(*request) tasks.UnknownPolicy
	moves    bool   // the broker can move a message byte for byte
	makeWay  func() // has this worker claim nothing for a moment, so that others get what goes back
	settle   func(settlement)
	giveBack func(*request)
	log      taskLog
}

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
	// tellAfter is how often a message has come back until that is told, after some 15 seconds, and tellEvery
	// how often it is told of any.
	tellAfter = 10
	tellEvery = time.Minute
)

// take gives a message to others, or keeps it first.
func (h *handover) take(r *request, leave bool) {
	now := time.Now()
	wait, times := h.known.next(sameRun(r))
	if times >= tellAfter && h.known.isNews(now) {
		h.log.task(slog.LevelWarn, r, "Task comes back", "Task "+nameAndID(r.Task)+", "+whyNotHere(r)+
			", comes back again and again: no other worker takes it from queue "+r.Queue+". Does one that has it consume that queue?")
	}
	if wait == 0 && leave && !h.known.atOnce(now) {
		wait = keepFull
	}
	if wait == 0 || r.unparked { // what was parked has waited already
		h.handOver(r)
		return
	}
	r.due = now.Add(wait)
	if !h.kept.add(r) {
		h.giveBack(r)
		return
	}
	if h.full() {
		h.kept.hurry(now.Add(keepFull))
	}
}

// full tells whether so many messages are kept that none are to be claimed.
func (h *handover) full() bool { return h.kept.len() >= keptMost }

// release gives away a message that was kept.
func (h *handover) release(r *request) {
	h.makeWay()
	h.handOver(r)
}

// handOver gives a message to others, as the policy of its queue says.
func (h *handover) handOver(r *request) {
	policy := h.policy(r)
	if policy.Action == tasks.UnknownForward {
		h.log.forwarded(r, policy.Queue)
		h.settle(settlement{req: r, fate: forward, queue: policy.Queue, end: &outcome{kind: Forwarded}})
		return
	}
	h.log.task(slog.LevelDebug, r, "Task left", "Leaving task "+nameAndID(r.Task)+", "+whyNotHere(r)+", in queue "+r.Queue)
	s := settlement{req: r, fate: requeue, end: &outcome{kind: Left}}
	if h.moves { // byte for byte: nobody has run it
		s.fate, s.queue = forward, r.Queue
	}
	h.settle(s)
}

// whyNotHere says why a message is for other workers.
func whyNotHere(r *request) string {
	if r.left {
		return "which is not in this worker's share"
	}
	return "which is not registered here"
}

// handedOver remembers how often messages were handed over, without growing for ever.
type handedOver struct {
	mu     sync.Mutex
	counts lately[int]

	second time.Time // when the count of left began
	left   int
	told   time.Time // when it was last told that something comes back
}

// next says how long to keep a message first, and how often it has come back.
func (h *handedOver) next(message string) (wait time.Duration, times int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.counts.of(message)
	h.counts.note(message, n+1)
	if n == 0 {
		return 0, 0
	}
	return min(keepFirst<<min(n-1, 8), keepLast), n
}

// atOnce tells whether one more message may go back to its queue in this second.
func (h *handedOver) atOnce(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.second) >= time.Second {
		h.second, h.left = now, 0
	}
	h.left++
	return h.left <= leftAtOnce
}

// isNews tells whether it was not told for long that something comes back.
func (h *handedOver) isNews(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.told) < tellEvery {
		return false
	}
	h.told = now
	return true
}
