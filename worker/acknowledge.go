package worker

import (
	"context"
	"slices"
)

// acknowledge acks the messages of a group that are acknowledged late.
func (s *lane) acknowledge(ctx context.Context, group []settlement) {
	tags, acked := s.tags[:0], s.acked[:0]
	for i := range group {
		r := group[i].req
		if group[i].fate == late && !r.lost.Load() {
			tags, acked = append(tags, r.tag), append(acked, r)
		}
	}
	if len(tags) == 0 {
		return
	}
	s.tags, s.acked = tags, acked
	s.ack(ctx, acked, tags)
	clear(acked)
}

// ack acknowledges messages, given with their tags, and notes which of them were lost. It
// reports false when the worker ends before it knows. The leases are forgotten first: a
// renewal that overlaps must not take an acknowledged message for a lost one.
func (s *settler) ack(ctx context.Context, requests []*request, tags []string) (known bool) {
	s.leases.remove(requests...)
	return s.persist(ctx, "acknowledge messages", func() error {
		lost, err := s.consumer.Ack(ctx, tags...)
		if err == nil {
			for _, tag := range lost {
				s.leases.lost(requests[slices.Index(tags, tag)])
			}
		}
		return err
	})
}
