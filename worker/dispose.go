package worker

import (
	"context"
	"errors"
	"time"

	"github.com/apium/apium/broker"
)

// dispose moves the messages that are not acknowledged but go elsewhere.
func (s *settler) dispose(ctx context.Context, group []settlement) {
	var back, parked []*request
	var letters []broker.DeadLetter
	var forwarded map[string][]*request
	for i := range group {
		one := &group[i]
		if one.req.lost.Load() {
			continue
		}
		switch one.fate {
		case none, late: // it stays, or is gone
		case requeue:
			back = append(back, one.req)
		case park:
			parked = append(parked, one.req)
		case forward:
			if forwarded == nil {
				forwarded = make(map[string][]*request)
			}
			forwarded[one.queue] = append(forwarded[one.queue], one.req)
		case burial:
			s.leases.remove(one.req)
			letters = append(letters, broker.DeadLetter{Delivery: one.req.delivery(), Reason: one.reason, At: time.Now()})
		default: // was acknowledged, or is not to be
		}
	}
	if len(parked) > 0 {
		s.parkTogether(ctx, parked)
	}
	if len(back) > 0 {
		s.leases.remove(back...)
		s.persist(ctx, "requeue messages", func() error {
			return s.consumer.Requeue(ctx, broker.Back, deliveriesOf(back)...)
		})
	}
	for queue, requests := range forwarded {
		s.leases.remove(requests...)
		s.persist(ctx, "forward messages", func() error {
			return s.mover.Forward(ctx, queue, deliveriesOf(requests)...)
		})
	}
	if len(letters) > 0 {
		s.persist(ctx, "bury messages", func() error { return s.mover.Bury(ctx, letters...) })
	}
}

// parkTogether hands the group's requests that are due later to the broker, in one round trip.
func (s *settler) parkTogether(ctx context.Context, requests []*request) {
	parked := make([]broker.Parked, len(requests))
	for i, r := range requests {
		parked[i] = broker.Parked{Delivery: r.delivery(), Due: r.due, TaskID: r.ID}
	}
	s.leases.remove(requests...)
	unable := false
	s.persist(ctx, "park messages", func() error {
		_, err := s.parker.Park(ctx, parked...)
		if unable = errors.Is(err, errors.ErrUnsupported); unable {
			return nil
		}
		return err
	})
	if unable {
		for _, r := range requests {
			s.leases.add(r)
		}
		s.unparkable(requests)
		return
	}
	s.parked(ctx, requests)
}
