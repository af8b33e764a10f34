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
	bytes     func() int    // that the messages have which the worker holds
	giveBack  func(*request)
	takeBack  func(broker.Delivery) (runs bool) // takes a message that was parked; it may be due by now
	log       taskLog
}

// heldBytes is how many bytes the messages that the worker holds may have for more to wait in memory that are due later.
// Where none does, one may in any case, or what one look brings.
const heldBytes = 128 << 20

// wait has a request wait until it is due.
func (s *schedule) wait(r *request) {
	if s.parking.able() && (time.Until(r.due) > s.parkAfter || s.full(r)) {
		s.parking.park(r)
		return
	}
	s.keep(r)
}

// full tells whether memory has no room for a request. For one that was parked there was enough when it was taken back.
func (s *schedule) full(r *request) bool {
	n := s.memory.len()
	return n >= s.most || n > 0 && !r.unparked && s.bytes() >= heldBytes
}

// keep has a request wait in memory.
func (s *schedule) keep(r *request) {
	if !s.memory.add(r) {
		s.giveBack(r)
	}
}

// Parked messages are looked for this often, and those that are due within the horizon are taken into memory, to be
// started on time: what waits in memory costs nothing when it is due. As long as none of a portion is due yet there is
// time, so portions are small then, and between two of them Redis is left alone for as long as the first one took: others are
// served, and workers share what will be due.
const (
	parkLook    = 500 * time.Millisecond
	parkHorizon = 10 * time.Second
	parkAhead   = 100 // messages in a portion
	parkBatch   = 500 // … when they are due
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
	portion := parkAhead
	for failing := false; ; {
		limit, start := min(s.room(), portion), time.Now()
		deliveries, err := s.parking.due(ctx, min(parkHorizon, s.parkAfter), limit)
		took := time.Since(start)
		switch {
		case ctx.Err() != nil && err != nil:
			return
		case err != nil && !failing:
			s.log.Error("Cannot look for parked messages: "+err.Error()+". Trying again",
				logline.EventKey, "Cannot look for parked messages", "error", err)
		}
		failing = err != nil
		portion = parkAhead
		for _, d := range deliveries {
			if s.takeBack(d) {
				portion = parkBatch
			}
		}
		if limit > 0 && len(deliveries) == limit && ctx.Err() == nil { // there are more, which may be due at once
			if portion == parkAhead {
				pause(ctx, took)
			}
			s.awaitRoom(ctx, portion)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// pause waits for so long, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// room is how many requests more may wait in memory.
func (s *schedule) room() int {
	waiting := s.memory.len() + s.waiting()
	if waiting > 0 && s.bytes() >= heldBytes {
		return 0
	}
	return s.most - waiting
}

// awaitRoom returns when there is room for half a portion, which is worth a look.
func (s *schedule) awaitRoom(ctx context.Context, portion int) {
	for s.room() < max(1, min(s.most, portion)/2) && ctx.Err() == nil {
		pause(ctx, roomLook)
	}
}
