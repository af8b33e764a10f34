package rpcbackend

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer"
)

// Sender sends records to those who wait for them. Who does not wait any more, because their queue is gone,
// gets nothing, and that is no error. Of a record that is too long for the broker they are told that the task has failed. A SUCCESS is not final: who is sent another record after it ignores
// that, as Celery does. Its methods are safe for concurrent use.
type Sender struct {
	link
	serializer   *serializer.Serializer // nil: JSON
	deliveryMode uint8

	mu      sync.Mutex // of what follows, and held while records are sent, so that they stay in order
	channel *amqp.Channel
	why     <-chan *amqp.Error // why the channel was
	epoch   uint64             // of the channel's connection
	sent    []*amqp.DeferredConfirmation
}

var (
	_ backend.Store   = (*Sender)(nil)
	_ backend.Encoder = (*Sender)(nil)
)

// NewSender returns a sender, which connects by itself.
func NewSender(cfg Config) (*Sender, error) {
	s := &Sender{deliveryMode: amqp.Transient}
	if cfg.Persistent {
		s.deliveryMode = amqp.Persistent
	}
	var err error
	if s.link, err = newLink(&cfg, nil); err != nil {
		return nil, err
	}
	if s.serializer, err = serializer.Lookup(cfg.Serializer); err != nil {
		return nil, fmt.Errorf("rpcbackend: Config.Serializer: %w", err)
	}
	return s, nil
}

// Encode implements backend.Encoder.
func (s *Sender) Encode(r backend.Record) (backend.Record, error) {
	var err error
	r.Encoded, err = s.serializer.EncodeRecord(r.Document)
	return r, err
}

// Store implements backend.Store. It returns when the broker has confirmed all records. Those of which it is
// not known who waits for them go nowhere.
func (s *Sender) Store(ctx context.Context, records ...backend.Record) error {
	messages, refused := s.messages(records)
	if len(messages) > 0 {
		s.mu.Lock()
		more, err := s.send(ctx, messages)
		s.mu.Unlock()
		if err != nil {
			return err
		}
		refused = append(refused, more...)
	} else if s.later.IsClosed() {
		return backend.ErrClosed
	}
	return errors.Join(refused...)
}

// send sends messages. What the broker refuses for good is found by halves.
func (s *Sender) send(ctx context.Context, messages []message) (refused []error, err error) {
	err = s.sendOnce(ctx, messages)
	if rabbitconn.Code(err) != amqp.PreconditionFailed {
		return nil, err
	}
	if len(messages) == 1 {
		refused = []error{&backend.RecordError{TaskID: messages[0].taskID, Err: errors.New(rabbitconn.Describe(err))}}
		if instead, ok := s.failure(&messages[0], err); ok {
			err = s.sendOnce(ctx, []message{instead})
		}
		if rabbitconn.Code(err) == amqp.PreconditionFailed { // it is refused, too
			err = nil
		}
		return refused, err
	}
	half := len(messages) / 2
	for _, part := range [][]message{messages[:half], messages[half:]} {
		more, err := s.send(ctx, part)
		if err != nil {
			return nil, err
		}
		refused = append(refused, more...)
	}
	return refused, nil
}

// failure is what is sent in place of a record that the broker refuses, as it is too long: the caller would wait for ever.
// It has the exception that Celery's worker has the next task fail with.
func (s *Sender) failure(of *message, err error) (instead message, ok bool) {
	var why *amqp.Error
	if !errors.As(err, &why) {
		return message{}, false
	}
	exception := &protocol.Exception{Type: "PreconditionFailed", Module: "amqp.exceptions"}
	exception.Message = append(pyjson.AppendString([]byte("[406, "), why.Reason), `, [60, 40], "Basic.publish"]`...)
	traceback := exception.Error()
	record := protocol.Result{State: protocol.Failure, Result: exception.Append(nil), Traceback: &traceback, DateDone: time.Now().UTC(), TaskID: of.taskID}
	instead = *of
	if instead.publishing.Body, err = s.serializer.EncodeRecord(record.Append(nil)); err != nil {
		return message{}, false
	}
	return instead, true
}

// sendOnce publishes messages and waits for the broker's word for all of them.
func (s *Sender) sendOnce(ctx context.Context, messages []message) error {
	conn, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer clear(s.sent)
	s.sent = s.sent[:0]
	conn.Together(func() { err = s.publish(messages) })
	if err != nil {
		return s.lost(ctx, err)
	}
	for _, confirmation := range s.sent {
		confirmed, err := confirmation.WaitContext(ctx)
		switch {
		case err != nil: // nobody knows what became of it
			s.drop()
			return err
		case !confirmed:
			return s.lost(ctx, errNotConfirmed)
		}
	}
	return nil
}

func (s *Sender) publish(messages []message) error {
	for i := range messages {
		confirmation, err := s.channel.PublishWithDeferredConfirm("", messages[i].replyTo, false, false, messages[i].publishing)
		if err != nil {
			return err
		}
		s.sent = append(s.sent, confirmation)
	}
	return nil
}

var errNotConfirmed = errors.New("rpcbackend: the broker has not taken a record")

// lost gives the channel up, and returns why what was sent may be lost.
func (s *Sender) lost(ctx context.Context, err error) error {
	if s.channel.IsClosed() || !errors.Is(err, errNotConfirmed) {
		select {
		case why := <-s.why: // at once, but it is not said by err
			if why != nil {
				err = why
			}
		case <-ctx.Done():
		}
	}
	s.drop()
	if s.later.IsClosed() {
		return backend.ErrClosed
	}
	return fmt.Errorf("send results: %w", err)
}

// drop gives the channel up: the next records get another one.
func (s *Sender) drop() {
	if s.channel != nil {
		go func(channel *amqp.Channel) { _ = channel.Close() }(s.channel) // it may wait for an answer
		s.channel = nil
	}
}

// open has a channel that the broker takes messages from.
func (s *Sender) open(ctx context.Context) (*rabbitconn.Connection, error) {
	conn, err := s.later.Taking(ctx)
	if err != nil {
		return nil, closedError(err)
	}
	if s.channel != nil && s.epoch == conn.Epoch && !s.channel.IsClosed() {
		return conn, nil
	}
	channel, err := conn.Channel()
	if err == nil {
		err = channel.Confirm(false)
	}
	if err != nil {
		return nil, fmt.Errorf("send results: %w", err)
	}
	s.channel, s.epoch, s.why = channel, conn.Epoch, channel.NotifyClose(make(chan *amqp.Error, 1))
	return conn, nil
}

// Close ends the connection. Calls in flight return backend.ErrClosed.
func (s *Sender) Close() error {
	s.close(nil)
	return nil
}
