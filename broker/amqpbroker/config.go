package amqpbroker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/settings/connection"
)

// Config says how to consume. URL and Queues are required.
type Config struct {
	// URL is a broker_url, read as kombu does:
	//
	//	amqp://[user[:password]@][host][:port][/virtual host]
	//	amqps://…, pyamqp://…
	//	amqp://host1;host2
	URL        string
	Connection connection.AMQP

	Queues []broker.Queue // in the order of -Q

	// Prefetch is how many messages the broker hands over ahead from each queue, until
	// SetPrefetch says otherwise. 0: 4.
	Prefetch int

	// ConsumerTimeout is RabbitMQ's consumer_timeout: for how long a message may be held. What is held for half of it
	// is replaced or given back. 0: 30 minutes, as RabbitMQ has it, or what it says when it has closed a channel.
	ConsumerTimeout time.Duration

	// Queue is how a queue of that name is declared that messages are forwarded to and that is not
	// there. Nil: as Celery makes it of a plain name.
	Queue func(name string) (broker.Queue, error)

	// Delays says that Celery's native delayed delivery is to be there from the start, as Celery has
	// it where there are quorum queues. Elsewhere it is declared when a message is first parked.
	Delays bool
	// DelayQueueType is broker_native_delayed_delivery_queue_type, quorum or classic. "": quorum.
	DelayQueueType string

	// MaxReconnects is how many attempts there are to make a lost connection again; after these
	// Claim fails. 0: no limit; negative: none.
	MaxReconnects int

	Hostname string       // shown to operators of the broker; "": the machine's name
	Logger   *slog.Logger // nil: slog.Default()

	// OnClaim is told the size of every batch that Claim returns. It must not block.
	OnClaim func(n int)

	holdTTL time.Duration // for how long a copy is nobody's until it goes back; 0: 5 s

	look time.Duration // how often it is looked for what is not needed any more; 0: 5 s
}

func (c *Config) setDefaults() {
	c.DelayQueueType = cmp.Or(c.DelayQueueType, "quorum")
	c.Prefetch = cmp.Or(c.Prefetch, 4)
	c.ConsumerTimeout = cmp.Or(c.ConsumerTimeout, defaultTimeout)
	c.holdTTL = cmp.Or(c.holdTTL, 5*time.Second)
	c.look = cmp.Or(c.look, 5*time.Second)
	if c.Hostname == "" {
		c.Hostname, _ = os.Hostname() // for display only
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Connection.Name = cmp.Or(c.Connection.Name, c.Hostname+" consumer")
}

// Server tells where the URL leads, without connecting. The error says what is wrong with the URL,
// or with what goes with it.
func (c *Config) Server() (connection.Server, error) {
	return rabbitconn.ServerOf(c.URL, c.Connection)
}

// read sets the defaults and finds what is wrong.
func (c *Config) read() (*rabbitconn.Config, error) {
	c.setDefaults()
	rabbit, err := rabbitconn.Parse(c.URL, c.Connection)
	if err != nil {
		err = fmt.Errorf("amqpbroker: %w", err)
	}
	if err := errors.Join(err, c.validate()); err != nil {
		return nil, err
	}
	return rabbit, nil
}

func (c *Config) validate() error {
	var errs []error
	if len(c.Queues) == 0 {
		errs = append(errs, errors.New("amqpbroker: Queues is empty"))
	}
	for i, q := range c.Queues {
		if err := validQueue(q); err != nil {
			errs = append(errs, fmt.Errorf("amqpbroker: Queues: %w", err))
		}
		if slices.IndexFunc(c.Queues, func(other broker.Queue) bool { return other.Name == q.Name }) < i {
			errs = append(errs, fmt.Errorf("amqpbroker: Queues: %q is listed twice", q.Name))
		}
	}
	if c.DelayQueueType != "quorum" && c.DelayQueueType != "classic" {
		errs = append(errs, fmt.Errorf("amqpbroker: DelayQueueType %q is neither quorum nor classic", c.DelayQueueType))
	}
	if c.ConsumerTimeout < 0 {
		errs = append(errs, fmt.Errorf("amqpbroker: ConsumerTimeout %v is negative", c.ConsumerTimeout))
	}
	if c.Prefetch < 0 || c.Prefetch > maxPrefetch {
		errs = append(errs, fmt.Errorf("amqpbroker: Prefetch %d is not between 1 and %d", c.Prefetch, maxPrefetch))
	}
	return errors.Join(errs...)
}

func validQueue(q broker.Queue) error {
	if q.Name == "" {
		return errors.New("a queue without a name")
	}
	for _, bound := range q.Bound() {
		exchange, b := bound.Binding()
		for _, name := range []string{q.Name, exchange, b.RoutingKey} {
			if len(name) > rabbitconn.LongestText {
				return fmt.Errorf("queue %.40q…: %.40q… has %d bytes; RabbitMQ allows for %d", q.Name, name, len(name), rabbitconn.LongestText)
			}
		}
		switch bound.ExchangeType {
		case "", broker.Direct, broker.Topic, broker.Fanout:
		default:
			return fmt.Errorf("queue %q: exchange %q is of type %q; known are direct, topic and fanout", q.Name, exchange, bound.ExchangeType)
		}
	}
	return nil
}
