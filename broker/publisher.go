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
// Nothing of the call was published, but for what went out in a portion before.
type RefusedError struct {
	Publication
	Err error // ErrUnroutable, or what is wrong with the message or its queue
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
}

// Publisher puts messages on queues.
type Publisher interface {
	// Publish sends messages in order and in one round trip where possible, all or
	// none; of many megabytes a part may be published when it fails. Each message's own
	// priority chooses the priority list. A *RefusedError is final. When the connection
	// breaks, Publish finds out what became of the messages, if the broker can tell, and
	// takes until ctx is done for it: so it may be repeated after an error.
	Publish(ctx context.Context, messages ...Publication) error
	Close() error
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
