package worker

import (
	"context"
	"errors"
	"slices"

	"github.com/apium/apium/broker"
)

// A message that is acknowledged late goes in the same step in which what follows from it is
// published, where the broker can: then a worker that dies has either done both or, as far
// as anybody can see, neither, and whoever gets the message instead does not run the rest of
// a chain once more. Everything else is written before that.

// concluderOf resolves the ability. worker_deduplicate_successful_tasks does without: there,
// who gets a message again whose task's success is stored takes what follows for published.
func concluderOf(cfg *Config) broker.Concluder {
	consumer, able := cfg.Consumer.(broker.Concluders)
	if !able || cfg.Publisher == nil || cfg.Deduplicate {
		return nil
	}
	return consumer.Concluder(cfg.Publisher)
}

// concludes tells whether what a settlement publishes goes along with the acknowledgement.
// What is too large for one step does not.
func (w *Worker) concludes(s *settlement) bool {
	f := s.flow
	return w.concluder != nil && s.fate == late && f != nil && len(f.publish)+len(f.then) > 0 && f.size <= publishPortion
}

// conclude publishes and acknowledges what concludes, in portions.
func (w *Worker) conclude(ctx context.Context, group []settlement) {
	portion, size := w.concluding[:0], 0
	for i := range group {
		s := &group[i]
		if !w.concludes(s) || s.req.lost.Load() {
			continue
		}
		portion = append(portion, s)
		for m := range s.flow.successors() {
			size += len(m.Message)
		}
		if size >= publishPortion {
			w.concludeTogether(ctx, portion)
			portion, size = portion[:0], 0
		}
	}
	if len(portion) > 0 {
		w.concludeTogether(ctx, portion)
	}
	clear(portion)
	w.concluding = portion
}

// concludeTogether concludes settlements in one call. If a message is refused, each has its
// own; and one that has a message which is refused has the others published first.
func (w *Worker) concludeTogether(ctx context.Context, portion []*settlement) {
	conclusions := make([]broker.Conclusion, len(portion))
	for i, s := range portion {
		messages := make([]broker.Publication, 0, len(s.flow.publish)+len(s.flow.then))
		for m := range s.flow.successors() {
			messages = append(messages, m.Publication)
		}
		conclusions[i] = broker.Conclusion{Tag: s.req.tag, Publish: messages}
		w.leases.remove(s.req)
	}
	var refused *broker.RefusedError
	first := true
	done := w.persist(ctx, "publish and acknowledge messages", func() error {
		lost, err := w.concluder.Conclude(ctx, conclusions...)
		if errors.As(err, &refused) {
			return nil
		}
		if err == nil && first {
			for _, tag := range lost {
				w.leaseLost(portion[slices.IndexFunc(portion, func(s *settlement) bool { return s.req.tag == tag })].req)
			}
		}
		first = false // after a failed attempt, our own may have removed the tag
		return err
	})
	for i, s := range portion {
		switch {
		case refused == nil:
			s.fate = none
			if done && !s.req.lost.Load() {
				w.published(s.flow)
			}
		case len(portion) == 1:
			w.publishTogether(ctx, slices.Collect(s.flow.successors())) // and acknowledge follows
		default:
			w.concludeTogether(ctx, portion[i:i+1])
		}
	}
}

// published tells the hooks what was published.
func (w *Worker) published(f *flow) {
	for m := range f.successors() {
		w.hooks.afterPublish(w.taskCtx, m.task)
	}
}
