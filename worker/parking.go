package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
)

// parking is what the broker keeps until it is due. No worker holds it.
type parking struct {
	parker   broker.Parker   // nil: the consumer cannot park
	unparker broker.Unparker // nil: what is parked comes by itself when it is due
	unable   atomic.Bool     // it has turned out that nothing can be parked
	recaller broker.Recaller // nil: the consumer does not find what is parked

	revocations *revocations
	settler     *settler
	takeBack    func(broker.Delivery) (runs bool)
	keep        func(*request) // has a request wait in memory
	log         taskLog
}

// able tells whether requests can be parked.
func (p *parking) able() bool { return p.parker != nil && !p.unable.Load() }

// try finds out about a parker that cannot park as it was configured.
func (p *parking) try(ctx context.Context) {
	if p.parker == nil {
		return
	}
	if _, err := p.parker.Park(ctx); errors.Is(err, errors.ErrUnsupported) {
		p.unable.Store(true)
	}
}

// refused takes back what could not be parked after all: it waits in memory, as everything will
// from now on.
func (p *parking) refused(requests []*request) {
	p.unable.Store(true)
	for _, r := range requests {
		p.keep(r)
	}
}

// park has a request parked, along with others, until it is due.
func (p *parking) park(r *request) { p.settler.settle(settlement{req: r, fate: park}) }

// due claims parked messages that are due soon.
func (p *parking) due(ctx context.Context, within time.Duration, limit int) ([]broker.Delivery, error) {
	if limit <= 0 {
		return nil, nil
	}
	return p.unparker.Due(ctx, time.Now().Add(within), limit)
}

// recall takes tasks back, whenever they are due, that are not to run any more.
func (p *parking) recall(ctx context.Context, ids []string) {
	if p.recaller == nil || len(ids) == 0 {
		return
	}
	deliveries, err := p.recaller.Recall(ctx, ids...)
	if err != nil {
		p.log.Warn("Cannot discard revoked tasks before they are due: "+err.Error(),
			logline.EventKey, "Cannot discard revoked tasks before they are due", "error", err)
	}
	for _, d := range deliveries {
		p.takeBack(d)
	}
}

// recallRevoked takes those of the requests back, which were just parked, that were revoked
// meanwhile: Revoke has looked for them in vain.
func (p *parking) recallRevoked(ctx context.Context, requests []*request) {
	var ids []string
	now := time.Now()
	for _, r := range requests {
		if p.revocations.has(r.ID, now) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	p.settler.expect()
	go func() { // discarding them is a matter of the settler, which waits for us here
		p.recall(ctx, ids)
		p.settler.written(1)
	}()
}
