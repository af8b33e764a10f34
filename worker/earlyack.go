package worker

import (
	"context"
	"slices"
	"time"
)

// What is acknowledged early is acknowledged before it starts, so that it can never start
// twice: a message whose acknowledgement is not confirmed has not started. Slots do not
// wait for that one by one. A goroutine accepts requests for them, as many at a time as
// there are idle slots; while handlers are short, also those that the slots will
// run until the next acknowledgement could be answered, or they would mostly wait. The
// price is paid when the process is killed: what was acknowledged and had not ended is
// gone. That is what the slots were running, and at most acceptedAhead more, which they
// would have run within a millisecond. Should a handler take longer all of a sudden, what was
// accepted goes back (see surplus.go).
const (
	acceptedAhead = 64
	// acceptedFor is what slots of other processes are given at least, while handlers are short: one
	// that has to wait for its next request sleeps, and takes longer to wake than the handler does.
	acceptedFor = 500 * time.Microsecond
)

// acknowledgeEarly is the goroutine that accepts. It ends when the backlog is closed.
func (p *pool) acknowledgeEarly(ctx context.Context) {
	rn := p.runner
	var requests, early []*request
	var tags []string
	for {
		var open bool
		if requests, open = p.backlog.next(requests[:0]); !open {
			return
		}
		early, tags = early[:0], tags[:0]
		requests = slices.DeleteFunc(requests, func(r *request) bool {
			if r.acksLate {
				return false // its slot looks, right before it starts
			}
			if !p.prepared(r) {
				return true
			}
			early, tags = append(early, r), append(tags, r.tag)
			return false
		})
		var took time.Duration
		if len(early) > 0 {
			start := time.Now()
			if !rn.ack(ctx, early, tags) {
				p.backlog.accept(nil, 0)
				for _, r := range requests {
					rn.unstarted.add(r) // whoever gets it sees whether the message is still there
				}
				continue
			}
			took = time.Since(start)
			for _, r := range early {
				r.accepted = true
			}
		}
		// What is acknowledged late still counts until its slot has seen that it is lost.
		requests = slices.DeleteFunc(requests, func(r *request) bool { return !r.acksLate && r.lost.Load() })
		p.backlog.accept(requests, took)
		clear(requests)
		clear(early)
	}
}
