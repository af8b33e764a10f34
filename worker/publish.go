package worker

import (
	"context"
	"errors"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// publishPortion is how many bytes of messages are encoded at a time, and published in one
// call: the tasks of a large group may have large arguments each. In Redis, where they are
// base64, it becomes 16 MiB.
const publishPortion = 12 << 20

// outgoing is the message of a task.
type outgoing struct {
	broker.Publication
	task  *protocol.Task        // for the hooks
	later *protocol.Publication // not nil: the message is encoded when its turn comes
}

// publish sends the messages of a group that do not go along with an acknowledgement, in one
// call if they are not too large for that. What follows a task whose lease was lost is left to
// whoever runs it now.
func (s *settler) publish(ctx context.Context, group []settlement, of func(*flow) []outgoing) {
	all := s.outgoing[:0]
	for i := range group {
		if f := group[i].flow; f != nil && !group[i].req.lost.Load() && !s.concludes(&group[i]) {
			all = append(all, of(f)...)
		}
	}
	s.outgoing = all
	for rest := all; len(rest) > 0; {
		n := encodePortion(rest)
		s.publishTogether(ctx, rest[:n])
		clear(rest[:n])
		rest = rest[n:]
	}
}

// encodePortion encodes what is not encoded yet, and returns how many of the messages make
// up a portion.
func encodePortion(messages []outgoing) (n int) {
	for size := 0; n < len(messages) && size < publishPortion; n++ {
		m := &messages[n]
		if m.later != nil {
			m.Message, _ = protocol.EncodeTask(m.task, *m.later) // an error would have come the first time
		}
		size += m.Message.Size()
	}
	return n
}

// publishTogether sends messages in one call; if one of them is refused, one by one, so
// that the others are published whatever is wrong with it.
func (s *settler) publishTogether(ctx context.Context, portion []outgoing) {
	messages := s.messages[:0]
	for i := range portion {
		messages = append(messages, portion[i].Publication)
	}
	s.messages = messages
	refused := s.send(ctx, messages)
	clear(messages)
	switch {
	case refused == nil:
		for i := range portion {
			s.hooks.afterPublish(s.taskCtx(), portion[i].task)
		}
	case len(portion) == 1:
		s.log.unpublished(refused)
	default:
		for i := range portion {
			s.publishTogether(ctx, portion[i:i+1])
		}
	}
}

// send publishes messages, trying again until it works, unless one of them is refused.
func (s *settler) send(ctx context.Context, messages []broker.Publication) (refused *broker.RefusedError) {
	s.persist(ctx, "publish messages", func() error {
		err := s.publisher.Publish(ctx, messages...)
		if errors.As(err, &refused) {
			return nil
		}
		return err
	})
	return refused
}
