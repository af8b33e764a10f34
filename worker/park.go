package worker

import (
	"context"
	"errors"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
)

// Parked messages are looked for this often, and those that are due within the horizon
// are taken into memory, to be started on time.
const (
	parkLook    = 500 * time.Millisecond
	parkHorizon = 3 * time.Second
	parkBatch   = 500
)

// findOutWhetherItParks forgets a parker that cannot park as it was configured.
func (w *Worker) findOutWhetherItParks(ctx context.Context) {
	if w.parker == nil {
		return
	}
	if _, err := w.parker.Park(ctx); errors.Is(err, errors.ErrUnsupported) {
		w.parker = nil
	}
}

// unpark takes parked messages back as their time comes near, until ctx is done. It
// takes no more than memory is meant to hold, with what is due and waits for a slot; the
// others come in their turn, or when they are due without anybody having taken them,
// through their queue.
func (w *Worker) unpark(ctx context.Context) {
	if w.parker == nil {
		return
	}
	ticker := time.NewTicker(parkLook)
	defer ticker.Stop()
	for failing := false; ; {
		room := w.cfg.ETATaskLimit - w.schedule.len() - w.runner.waiting()
		deliveries, err := w.takeDue(ctx, min(room, parkBatch))
		switch {
		case ctx.Err() != nil && err != nil:
			return
		case err != nil && !failing:
			w.log.Error("Cannot look for parked messages: "+err.Error()+". Trying again",
				logline.EventKey, "Cannot look for parked messages", "error", err)
		}
		failing = err != nil
		for _, d := range deliveries {
			w.receive(d, true)
		}
		if len(deliveries) == parkBatch && ctx.Err() == nil {
			continue // there are more
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *Worker) takeDue(ctx context.Context, limit int) ([]broker.Delivery, error) {
	if limit <= 0 {
		return nil, nil
	}
	return w.parker.Due(ctx, time.Now().Add(min(parkHorizon, w.cfg.ParkAfter)), limit)
}

// recallRevoked takes those back that were revoked on their way to the broker's keeping,
// where Revoke has looked for them in vain.
func (w *Worker) recallRevoked(ctx context.Context, requests []*request) {
	var ids []string
	now := time.Now()
	for _, r := range requests {
		if w.revocations.has(r.ID, now) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	w.settler.expect()
	go func() { // discarding them is a matter of the settler, which waits for us here
		w.recall(ctx, ids)
		w.settler.written(1)
	}()
}
