package worker

import (
	"context"
	"errors"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// outgoing is the message of a task.
type outgoing struct {
	broker.Publication
	task *protocol.Task // for the hooks
}

// publish sends the messages of a group, in one call. What follows a task whose lease was
// lost is left to whoever runs it now.
func (w *Worker) publish(ctx context.Context, group []settlement, of func(*flow) []outgoing) {
	messages := w.messages[:0]
	for i := range group {
		if f := group[i].flow; f != nil && !group[i].req.lost.Load() {
			for _, message := range of(f) {
				messages = append(messages, message.Publication)
			}
		}
	}
	if len(messages) == 0 {
		return
	}
	w.messages = messages
	if refused := w.send(ctx, messages); refused != nil && len(messages) > 1 {
		w.publishApart(ctx, group, of)
	} else if refused != nil {
		w.logUnpublished(refused)
	} else {
		w.announcePublished(group, of)
	}
	clear(messages)
}

// publishApart sends the messages of a group one by one: those that can be published are,
// whatever is wrong with the others.
func (w *Worker) publishApart(ctx context.Context, group []settlement, of func(*flow) []outgoing) {
	for i := range group {
		f := group[i].flow
		if f == nil || group[i].req.lost.Load() {
			continue
		}
		for _, message := range of(f) {
			if refused := w.send(ctx, []broker.Publication{message.Publication}); refused != nil {
				w.logUnpublished(refused)
			} else {
				w.hooks.afterPublish(w.taskCtx, message.task)
			}
		}
	}
}

func (w *Worker) announcePublished(group []settlement, of func(*flow) []outgoing) {
	if len(w.hooks.connected) == 0 {
		return
	}
	for i := range group {
		if f := group[i].flow; f != nil && !group[i].req.lost.Load() {
			for _, message := range of(f) {
				w.hooks.afterPublish(w.taskCtx, message.task)
			}
		}
	}
}

// send publishes messages, trying again until it works, unless one of them is refused.
func (w *Worker) send(ctx context.Context, messages []broker.Publication) (refused *broker.RefusedError) {
	w.persist(ctx, "publish messages", func() error {
		err := w.cfg.Publisher.Publish(ctx, messages...)
		if errors.As(err, &refused) {
			return nil
		}
		return err
	})
	return refused
}
