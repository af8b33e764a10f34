package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
)

// givenBack gives messages back that this worker holds and will not run. It collects requests
// that nothing holds any more: their place to wait was closed, or their handler returned
// after a cold shutdown.
type givenBack struct {
	consumer  broker.Consumer
	unclaimer broker.Unclaimer // nil: a claim cannot be undone
	returner  broker.Returner  // nil: an acknowledgement cannot be taken back
	leases    *leases
	log       taskLog
	*persister

	again comesAgain

	mu       sync.Mutex
	requests []*request
}

func (g *givenBack) add(r *request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = append(g.requests, r)
}

func (g *givenBack) take() []*request {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.requests
	g.requests = nil
	return taken
}

// giveBack puts messages back in their queues, in the order in which they were claimed:
// somebody may have run them.
func (g *givenBack) giveBack(ctx context.Context, requests []*request) {
	deliveries := g.letGo(requests)
	if len(deliveries) == 0 {
		return
	}
	// Said before it is done, as kombu does.
	g.log.Info(fmt.Sprintf("Restoring %d unacknowledged message(s)", len(deliveries)),
		logline.EventKey, "Restoring unacknowledged messages", "count", len(deliveries))
	g.inPortions(ctx, deliveries, func(portion []broker.Delivery) error { return g.consumer.Requeue(ctx, broker.Front, portion...) })
}

// backPortion is how many messages go back between two looks at whether a shutdown gets on.
const backPortion = 1000

// inPortions gives messages back, to the front of their queues: the last ones first.
func (g *givenBack) inPortions(ctx context.Context, deliveries []broker.Delivery, back func([]broker.Delivery) error) {
	for done := false; !done; {
		n := max(0, len(deliveries)-backPortion)
		portion := deliveries[n:]
		ok := g.persist(ctx, "give messages back", func() error { return back(portion) })
		deliveries, done = deliveries[:n], n == 0 || !ok
	}
}

// unclaims tells whether messages can go back as if nobody had claimed them. Otherwise nothing
// is claimed ahead.
func (g *givenBack) unclaims() bool { return g.unclaimer != nil }

// unclaim puts messages back in their queues that nobody has run.
func (g *givenBack) unclaim(ctx context.Context, requests []*request) {
	if g.unclaimer == nil {
		g.giveBack(ctx, requests)
		return
	}
	g.again.note(requests)
	if deliveries := g.letGo(requests); len(deliveries) > 0 {
		g.inPortions(ctx, deliveries, func(portion []broker.Delivery) error { return g.unclaimer.Unclaim(ctx, portion...) })
	}
}

// letGo returns the deliveries of requests that are to go back, in the order in which they
// were claimed. They are not held any more.
func (g *givenBack) letGo(requests []*request) []broker.Delivery {
	requests = slices.DeleteFunc(requests, func(r *request) bool { return r.lost.Load() })
	slices.SortFunc(requests, func(a, b *request) int { return cmp.Compare(a.seq, b.seq) })
	requests = slices.Compact(requests) // one may have returned while it was collected
	g.leases.remove(requests...)
	return deliveriesOf(requests)
}

func deliveriesOf(requests []*request) []broker.Delivery {
	deliveries := make([]broker.Delivery, len(requests))
	for i, r := range requests {
		deliveries[i] = r.delivery()
	}
	return deliveries
}

// takesBack tells whether an acknowledgement can be taken back.
func (g *givenBack) takesBack() bool { return g.returner != nil }

// takeBack gives back what was acknowledged and did not start.
func (g *givenBack) takeBack(ctx context.Context, accepted []*request) {
	if len(accepted) > 0 {
		g.again.note(accepted)
		g.persist(ctx, "take acknowledgements back", func() error {
			return g.returner.Return(ctx, deliveriesOf(accepted)...)
		})
	}
}

// hold takes acknowledgements back of what waits on here.
func (g *givenBack) hold(ctx context.Context, accepted []*request) {
	term, now := g.leases.term(), time.Now()
	g.persist(ctx, "hold messages again", func() error { return g.returner.Hold(ctx, deliveriesOf(accepted)...) })
	for _, r := range accepted {
		r.accepted = false
		r.term.Store(term)
		r.leased.Store(now.UnixNano())
		g.leases.add(r)
	}
}
