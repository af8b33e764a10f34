// Package publish is what clients and workers have in common when they publish: a plan of
// package canvas becomes messages and writes, which are carried out.
package publish

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/serializer"
)

// Config says how messages are made. The zero value works.
type Config struct {
	// Environment is what all plans have in common: queues, routes and who publishes.
	Environment canvas.Environment
	// Serializer and Compression are those of messages whose options name none.
	Serializer, Compression string
	// Signed is what they are written in instead. nil: nothing is signed.
	Signed protocol.Serializer
	// Before is called with each task before its message is made, and may change it. Nil: nothing is.
	Before func(ctx context.Context, task *protocol.Task)
	// Event makes a message that is published along with a task's. Nil: there is none.
	Event func(task *protocol.Task) broker.Publication
}

// Maker makes messages of plans. It is safe for concurrent use.
type Maker struct {
	cfg    Config
	format protocol.Format
}

// NewMaker returns a maker, or an error that names a serializer or compression that does not
// exist.
func NewMaker(cfg Config) (*Maker, error) {
	format, err := serializer.Format(cfg.Serializer, cfg.Compression)
	if err != nil {
		return nil, err
	}
	if cfg.Signed != nil {
		format.Serializer = cfg.Signed
	}
	cfg.Environment.NewID = protocol.NewID
	// One for each producer, as in Celery. Unless it is an address, nobody is there.
	cfg.Environment.ReplyTo = cmp.Or(cfg.Environment.ReplyTo, protocol.NewID())
	return &Maker{cfg: cfg, format: format}, nil
}

// Environment is that of a plan which is made now.
func (m *Maker) Environment() canvas.Environment {
	env := m.cfg.Environment
	env.Now = time.Now()
	return env
}

// Telling is a maker like m that calls before in the place of Config.Before.
func (m *Maker) Telling(before func(ctx context.Context, task *protocol.Task)) *Maker {
	telling := *m
	telling.cfg.Before = before
	return &telling
}

// Format is that of messages whose options name none.
func (m *Maker) Format() protocol.Format { return m.format }

// Message is a message that is to be published.
type Message struct {
	broker.Publication
	Task *protocol.Task // nil: it is an event
	// Refused is told by [Sender.SendEach] that the broker refuses the message. Nil: nothing is.
	Refused func(err error)

	later *protocol.Publication // not nil: the message is made when its turn comes
}

// Batch is what plans come to. Writes come before all messages: a member of a chord may be
// done before its siblings are published.
type Batch struct {
	Writes   []canvas.Step // sizes of chords, records of groups
	Messages []Message
	Size     int // of all messages, in bytes
	// First is the first message's step; nil: there is none.
	First *canvas.Publish
}

// Portion is how many bytes of messages are in memory at a time, and published in one call:
// the tasks of a large group may have large arguments each. In Redis, where they are base64, it
// becomes 16 MiB.
const Portion = 12 << 20

// Add adds a plan to a batch. Of what is more than a portion the messages are made later.
func (m *Maker) Add(ctx context.Context, b *Batch, plan *canvas.Plan) error {
	for _, step := range plan.Steps {
		call, ok := step.(canvas.Publish)
		if !ok {
			b.Writes = append(b.Writes, step)
			continue
		}
		message, err := m.step(ctx, &call)
		if err != nil {
			return err
		}
		if b.Size += message.Message.Size(); b.Size > Portion && len(b.Messages) > 0 { // one alone is sent as it is, however large
			message.Message, message.later = protocol.Message{}, &call.Publication
		}
		b.Messages = append(b.Messages, message)
		if b.First == nil {
			b.First = &call
		}
		if m.cfg.Event != nil {
			b.Messages = append(b.Messages, Message{Publication: m.cfg.Event(call.Task)})
		}
	}
	return nil
}

// Append adds what another batch has, after what this one does.
func (b *Batch) Append(more *Batch) {
	b.Writes = append(b.Writes, more.Writes...)
	b.Messages = append(b.Messages, more.Messages...)
	b.Size += more.Size
}

// step makes the message of a plan's step, in the form that its options ask for.
func (m *Maker) step(ctx context.Context, call *canvas.Publish) (Message, error) {
	call.Publication.Format = m.format
	if call.Serializer != "" || call.Compression != "" {
		name := call.Serializer
		signed := m.cfg.Signed != nil && (name == "" || name == "auth")
		if signed {
			name = ""
		}
		format, err := serializer.Format(cmp.Or(name, m.cfg.Serializer), cmp.Or(call.Compression, m.cfg.Compression))
		if err != nil {
			return Message{}, fmt.Errorf("task %s: %w", call.Task.Name, err)
		}
		if signed {
			format.Serializer = m.cfg.Signed
		}
		call.Publication.Format = format
	}
	message, err := m.Make(ctx, call.Task, call.Publication)
	message.ExchangeType, message.Delay = call.ExchangeType, call.Delay
	return message, err
}

// Make makes the message of a single task.
func (m *Maker) Make(ctx context.Context, task *protocol.Task, p protocol.Publication) (Message, error) {
	if m.cfg.Before != nil {
		m.cfg.Before(ctx, task)
	}
	message, err := protocol.EncodeTask(task, p)
	if err != nil {
		return Message{}, err
	}
	return Message{
		Publication: broker.Publication{Exchange: task.Exchange, RoutingKey: task.RoutingKey, Message: message}, Task: task,
	}, nil
}

// makeLater makes the message of one that was left for later.
func (m *Message) makeLater() {
	if m.later != nil {
		m.Message, _ = protocol.EncodeTask(m.Task, *m.later) // an error would have come the first time
	}
}
