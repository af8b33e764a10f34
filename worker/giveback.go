package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
)

// givenBack gives messages back that this worker holds and will not run. It collects requests
// that nothing holds any more: their place to wait was closed, or their handler returned
// after a cold shutdown.
type givenBack struct {
	consumer broker.Consumer
	returner broker.Returner // nil: an acknowledgement cannot be taken back
	leases   *leases
	log      taskLog
	*persister

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

// giveBack puts messages back in their queues, in the order in which they were claimed.
func (g *givenBack) giveBack(ctx context.Context, place broker.Place, requests []*request) {
	requests = slices.DeleteFunc(requests, func(r *request) bool { return r.lost.Load() })
	if len(requests) == 0 {
		return
	}
	slices.SortFunc(requests, func(a, b *request) int { return cmp.Compare(a.seq, b.seq) })
	requests = slices.Compact(requests) // one may have returned while it was collected
	g.leases.remove(requests...)
	deliveries := deliveriesOf(requests)
	if place == broker.Front { // said before it is done, as kombu does
		g.log.Info(fmt.Sprintf("Restoring %d unacknowledged message(s)", len(requests)),
			logline.EventKey, "Restoring unacknowledged messages", "count", len(requests))
	}
	g.persist(ctx, "give messages back", func() error {
		return g.consumer.Requeue(ctx, place, deliveries...)
	})
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
		g.persist(ctx, "take acknowledgements back", func() error {
			return g.returner.Return(ctx, deliveriesOf(accepted)...)
		})
	}
}
