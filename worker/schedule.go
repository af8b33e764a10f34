package worker

import (
	"context"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
)

// schedule has requests wait for their ETA: in memory those that are due soon, and parked the
// others.
type schedule struct {
	memory    *timetable
	parking   *parking
	parkAfter time.Duration // what is due later than that is parked
	most      int           // so many wait in memory
	waiting   func() int    // how many requests are due and wait for a slot
	giveBack  func(*request)
	takeBack  func(broker.Delivery) // takes a message that was parked and is due soon
	log       taskLog
}

// wait has a request wait until it is due.
func (s *schedule) wait(r *request) {
	if s.parking.able() && (time.Until(r.due) > s.parkAfter || s.memory.len() >= s.most) {
		s.parking.park(r)
		return
	}
	s.keep(r)
}

// keep has a request wait in memory.
func (s *schedule) keep(r *request) {
	if !s.memory.add(r) {
		s.giveBack(r)
	}
}

// Parked messages are looked for this often, and those that are due within the horizon
// are taken into memory, to be started on time.
const (
	parkLook    = 500 * time.Millisecond
	parkHorizon = 3 * time.Second
	parkBatch   = 500
	roomLook    = 5 * time.Millisecond
)

// unpark takes parked messages back as their time comes near, until ctx is done. It
// takes no more than memory is meant to hold, with what is due and waits for a slot; the
// others come in their turn, or when they are due without anybody having taken them,
// through their queue.
func (s *schedule) unpark(ctx context.Context) {
	if !s.parking.able() || s.parking.unparker == nil {
		return
	}
	ticker := time.NewTicker(parkLook)
	defer ticker.Stop()
	for failing := false; ; {
		limit := min(s.room(), parkBatch)
		deliveries, err := s.parking.due(ctx, min(parkHorizon, s.parkAfter), limit)
		switch {
		case ctx.Err() != nil && err != nil:
			return
		case err != nil && !failing:
			s.log.Error("Cannot look for parked messages: "+err.Error()+". Trying again",
				logline.EventKey, "Cannot look for parked messages", "error", err)
		}
		failing = err != nil
		for _, d := range deliveries {
			s.takeBack(d)
		}
		if limit > 0 && len(deliveries) == limit && ctx.Err() == nil { // there are more, which may be due at once
			s.awaitRoom(ctx)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// room is how many requests more may wait in memory.
func (s *schedule) room() int { return s.most - s.memory.len() - s.waiting() }

// awaitRoom returns when there is room for enough to be worth a look.
func (s *schedule) awaitRoom(ctx context.Context) {
	ticker := time.NewTicker(roomLook)
	defer ticker.Stop()
	for s.room() < max(1, min(s.most, parkBatch)/2) {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
