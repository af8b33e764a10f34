package broker

import "context"

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
	Message      []byte // an envelope
}

// Publisher puts messages on queues.
type Publisher interface {
	// Publish sends messages in order and in one round trip where possible, all or
	// none. Each message's own priority chooses the priority list. It is an error if
	// no queue is bound for a message. After a connection failure it is unknown
	// whether the messages were published.
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
	// Handle is called with each message, one at a time. It must not keep message.
	Handle func(routingKey string, message []byte)
	// OnState, if not nil, is told when messages start and cease to be heard.
	OnState func(subscribed bool, err error)
}
