package worker

import (
	"context"
	"errors"
	"slices"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
)

// A message that is acknowledged late goes in the same step in which what follows from it is
// published, where the broker can: then a worker that dies has either done both or, as far
// as anybody can see, neither, and whoever gets the message instead does not run the rest of
// a chain once more. Everything else is written before that.

// concluderOf resolves the ability. worker_deduplicate_successful_tasks does without: there,
// who gets a message again whose task's success is stored takes what follows for published.
func concluderOf(cfg *Config, able broker.Abilities) broker.Concluder {
	if able.Concluders == nil || cfg.Publisher == nil || cfg.Deduplicate {
		return nil
	}
	return able.Concluders.Concluder(cfg.Publisher)
}

// concludes tells whether what a settlement publishes goes along with the acknowledgement.
// What is too large for one step does not.
func (s *settler) concludes(one *settlement) bool {
	f := one.flow
	return s.concluder != nil && one.fate == late && f != nil && len(f.Messages)+len(f.then) > 0 && f.Size <= publish.Portion
}

// conclude publishes and acknowledges what concludes, in portions.
func (s *lane) conclude(ctx context.Context, group []settlement) {
	portion, size := s.concluding[:0], 0
	for i := range group {
		one := &group[i]
		if !s.concludes(one) || one.req.lost.Load() {
			continue
		}
		portion = append(portion, one)
		for m := range one.flow.successors() {
			size += m.Message.Size()
		}
		if size >= publish.Portion {
			s.concludeTogether(ctx, portion)
			portion, size = portion[:0], 0
		}
	}
	if len(portion) > 0 {
		s.concludeTogether(ctx, portion)
	}
	clear(portion)
	s.concluding = portion
}

// concludeTogether concludes settlements in one call. If a message is refused, each has its
// own; and one that has a message which is refused has the others published first.
func (s *settler) concludeTogether(ctx context.Context, portion []*settlement) {
	conclusions := make([]broker.Conclusion, len(portion))
	for i, one := range portion {
		messages := make([]broker.Publication, 0, len(one.flow.Messages)+len(one.flow.then))
		for m := range one.flow.successors() {
			messages = append(messages, m.Publication)
		}
		conclusions[i] = broker.Conclusion{Tag: one.req.tag, Publish: messages}
		s.leases.remove(one.req)
	}
	var refused *broker.RefusedError
	first := true
	done := s.persist(ctx, "publish and acknowledge messages", func() error {
		lost, err := s.concluder.Conclude(ctx, conclusions...)
		if errors.As(err, &refused) {
			return nil
		}
		if err == nil && first {
			for _, tag := range lost {
				s.leases.lost(portion[slices.IndexFunc(portion, func(one *settlement) bool { return one.req.tag == tag })].req)
			}
		}
		first = false // after a failed attempt, our own may have removed the tag
		return err
	})
	for i, one := range portion {
		switch {
		case refused == nil:
			one.fate = none
			if done && !one.req.lost.Load() {
				s.sender.Sent(ctx, one.flow.Messages)
				s.sender.Sent(ctx, one.flow.then)
			}
		case len(portion) == 1:
			s.sender.SendEach(ctx, slices.Concat(one.flow.Messages, one.flow.then), s.log.unpublished) // and acknowledge follows
		default:
			s.concludeTogether(ctx, portion[i:i+1])
		}
	}
}
