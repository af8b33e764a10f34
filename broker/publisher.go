package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/protocol"
)

// ErrUnroutable says that no queue is bound for a message. kombu drops such messages
// in silence.
var ErrUnroutable = errors.New("no queue is bound for it")

// RefusedError says that a message cannot be published, however often it is tried.
type RefusedError struct {
	Publication
	// Index is its place among the messages of the call. It may be the first if it is not
	// known which one was refused.
	Index int
	// OthersSent says that all others of the call were published; else none was.
	OthersSent bool
	Err        error // ErrUnroutable, or what is wrong with the message or its queue
}

func (e *RefusedError) Error() string {
	if e.Exchange == "" {
		return fmt.Sprintf("broker: message for queue %q: %v", e.RoutingKey, e.Err)
	}
	return fmt.Sprintf("broker: message for exchange %q with routing key %q: %v", e.Exchange, e.RoutingKey, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Types of exchanges, in kombu's words. An empty type stands for Direct.
const (
	Direct = "direct"
	Topic  = "topic"
	Fanout = "fanout"
)

// Publication is one message for an exchange.
type Publication struct {
	// Exchange routes the message. "" is the default exchange: the routing key is the queue's name.
	Exchange string
	// ExchangeType matters for Fanout only: such a message goes to whoever is subscribed.
	// Direct and topic exchanges are told apart by their bindings.
	ExchangeType string
	RoutingKey   string
	Message      protocol.Message
	// Delay is for how long a broker that can may keep the message back, as its task is not due before. 0 or less: it is due.
	Delay time.Duration
	// Ends is the chord that the message is the body of, if it is to be ended in the step in which the message is published: what a
	// backend.ChordEnds has made, and a ChordEnder says it ends. Then the message is not published if somebody else has
	// the chord, or has ended it. What several messages in a row have in common ends their chord once: all of them are published, or none. Nil:
	// the message is published.
	Ends any
}

// ChordEnder is implemented by publishers that can end a chord in the step in which they publish, if the result backend keeps
// it where they publish to.
type ChordEnder interface {
	// EndsChord tells whether it can, of what Publication.Ends would be.
	EndsChord(end any) bool
}

// Publisher puts messages on queues.
type Publisher interface {
	// Publish sends messages in order and in one round trip where possible. When only single
	// messages were refused for good, the error joins one *RefusedError for each, or is one
	// with which none was published. When the connection breaks, Publish finds
	// out what became of the messages, if the broker can tell, and takes until ctx is done
	// for it: so it may be repeated after another error. Where the broker cannot tell, it
	// publishes messages twice rather than not at all.
	Publish(ctx context.Context, messages ...Publication) error
	Close() error
}

// AllOrNone is implemented by publishers that publish all messages of a call or none, whatever
// happens; only of many megabytes a part may be published when it fails.
type AllOrNone interface {
	PublishesAllOrNone()
}

// Refusals returns the refusals that an error of Publish joins; nil: it is another error.
func Refusals(err error) []*RefusedError {
	switch e := err.(type) { //nolint:errorlint // this walks the tree
	case nil:
		return nil
	case *RefusedError:
		return []*RefusedError{e}
	case interface{ Unwrap() []error }:
		var all []*RefusedError
		for _, part := range e.Unwrap() {
			refused := Refusals(part)
			if refused == nil {
				return nil // some of it is to be tried again
			}
			all = append(all, refused...)
		}
		return all
	case interface{ Unwrap() error }:
		return Refusals(e.Unwrap())
	}
	return nil
}

// Broadcaster sends messages to all who are listening at that moment: events,
// remote control, broadcast queues. What nobody hears is gone.
// All methods are safe for concurrent use.
type Broadcaster interface {
	// Broadcast sends messages of fanout exchanges in order, in one round trip.
	Broadcast(ctx context.Context, messages ...Publication) error
	// Subscribe hands over what is broadcast until ctx is done, whose error it then
	// returns. It subscribes again after an outage; what was sent meanwhile is lost.
	Subscribe(ctx context.Context, s Subscription) error
	Close() error
}

// Subscription says what to listen to.
type Subscription struct {
	Exchange string
	// BindingKey is a pattern as celery writes it, such as "task.#"; "" hears messages
	// without a routing key only.
	BindingKey string
	// Queue is the name bound to the exchange while the subscription lasts, as kombu
	// does for auto-delete queues; "" binds none.
	Queue string
	// Only says which of these messages to hear from now on, by their routing keys, word by word; nil: all. A broker that
	// cannot tell them apart, or where the rights to are missing, goes on with all. It is never closed; nil: all are heard.
	Only <-chan []string
	// Handle is called with each message, one at a time. The message is its own to keep.
	Handle func(routingKey string, message Content)
	// OnState, if not nil, is told when messages start and cease to be heard.
	OnState func(subscribed bool, err error)
}

// Replier is implemented by publishers that can answer those who wait, and nobody else.
type Replier interface {
	// Reply puts a message on the queues that are bound for it at this moment, whose
	// messages vanish when there has been no other for ttl. Without such a queue nobody
	// waits any more: the message is dropped, and delivered is false.
	Reply(ctx context.Context, m Publication, ttl time.Duration) (delivered bool, err error)
}

// Asker is implemented by publishers that can be replied to.
type Asker interface {
	// AwaitReplies binds a queue of the caller's own to a direct exchange. Whoever asks
	// for replies first binds, then asks.
	AwaitReplies(ctx context.Context, q Queue) (Replies, error)
}

// Replies are the messages that arrive in a queue of one's own.
type Replies interface {
	// Next waits for a message until ctx is done, whose error it then returns. After any
	// error there is nothing more to come.
	Next(ctx context.Context) (Content, error)
	// Close removes the queue with all that is in it, and its binding.
	Close(ctx context.Context) error
}
