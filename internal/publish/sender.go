package publish

import (
	"context"
	"slices"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// Sender publishes messages. It is for one goroutine at a time.
type Sender struct {
	Publisher broker.Publisher
	// After is called with each task whose message was published. Nil: nothing is.
	After func(ctx context.Context, task *protocol.Task)
	// Try calls what publishes until it need not be called any more, and returns its last error.
	Try func(ctx context.Context, publish func() error) error

	messages []broker.Publication // reused
}

// Send publishes messages in order, up to a portion of them in one call, and tells the hook
// when all are out. It ends at the first error.
func (s *Sender) Send(ctx context.Context, messages []Message) error {
	err := portions(messages, func(portion []Message) error { return s.send(ctx, portion) })
	if err == nil {
		s.Sent(ctx, messages)
	}
	return err
}

// SendEach is Send for messages that do not belong together: if one of them is refused, the
// others are published all the same, and refused is called. It drops messages when Try gives
// up.
func (s *Sender) SendEach(ctx context.Context, messages []Message, refused func(*broker.RefusedError)) {
	_ = portions(messages, func(portion []Message) error {
		s.sendEach(ctx, portion, refused)
		return nil
	})
}

func (s *Sender) sendEach(ctx context.Context, portion []Message, refused func(*broker.RefusedError)) {
	err := s.send(ctx, portion)
	refusals := broker.Refusals(err)
	switch {
	case err == nil:
		s.Sent(ctx, portion)
	case refusals == nil:
	case !refusals[0].OthersSent && len(portion) > 1:
		s.sendApart(ctx, portion, refused)
	default: // the others are published
		for i := range portion {
			at := slices.IndexFunc(refusals, func(r *broker.RefusedError) bool { return r.Index == i })
			if at < 0 {
				s.Sent(ctx, portion[i:i+1])
			} else {
				refused(refusals[at])
				if portion[i].Refused != nil {
					portion[i].Refused(refusals[at])
				}
			}
		}
	}
}

// sendApart sends one message after the other, but together those that end a chord together: of these alone the first would be sent. The body of a chord
// one of whose messages is refused ends it no more: the chord fails.
func (s *Sender) sendApart(ctx context.Context, portion []Message, refused func(*broker.RefusedError)) {
	for rest := portion; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].endsWith(&rest[n-1]) {
			n++
		}
		if n > 1 && n == len(portion) {
			for i := range n {
				rest[i].Ends = nil
			}
			n = 1
		}
		s.sendEach(ctx, rest[:n], refused)
		rest = rest[n:]
	}
}

// endsWith tells whether two messages end the same chord.
func (m *Message) endsWith(other *Message) bool { return m.Ends != nil && m.Ends == other.Ends }

// send publishes a portion in one call.
func (s *Sender) send(ctx context.Context, portion []Message) error {
	messages := s.messages[:0]
	for i := range portion {
		messages = append(messages, portion[i].Publication)
	}
	s.messages = messages
	err := s.Try(ctx, func() error { return s.Publisher.Publish(ctx, messages...) })
	clear(messages)
	return err
}

// Sent tells the hook what was published.
func (s *Sender) Sent(ctx context.Context, messages []Message) {
	for i := range messages {
		if s.After != nil && messages[i].Task != nil {
			s.After(ctx, messages[i].Task)
		}
	}
}

// portions calls each with as many messages as are published at a time, which it makes if
// that was left for later. Only the tasks of what was published are kept.
func portions(messages []Message, each func([]Message) error) error {
	for len(messages) > 0 {
		n := 0
		for size := 0; n < len(messages) && (size < Portion || messages[n].endsWith(&messages[n-1])); n++ {
			messages[n].makeLater()
			size += messages[n].Message.Size()
		}
		if err := each(messages[:n]); err != nil {
			return err
		}
		for i := range n {
			messages[i].Publication = broker.Publication{}
		}
		messages = messages[n:]
	}
	return nil
}
