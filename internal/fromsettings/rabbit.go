package fromsettings

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/apium/apium/backend/rpcbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

// overRabbit is kombu's transport for RabbitMQ, pyamqp.
type overRabbit struct{}

// RabbitSet is how RabbitMQ is reached.
type RabbitSet struct {
	Consumer  amqpbroker.Config
	Publisher amqpbroker.PublisherConfig
	Manager   connection.Manager
	Results   rpcbackend.Config
}

func (overRabbit) read(cs *Connections, conf *settings.Settings) (err error) {
	if conf.ControlQueueExclusive && conf.ControlQueueDurable {
		return errors.New("control_queue_durable: a queue cannot be durable and exclusive: set control_queue_exclusive to false, too")
	}
	if conf.EventQueueExclusive && conf.EventQueueDurable {
		return errors.New("event_queue_durable: a queue cannot be durable and exclusive: set event_queue_exclusive to false, too")
	}
	to := &cs.Rabbit
	to.Consumer = amqpbroker.Config{
		URL: cs.BrokerURL, Connection: amqpOptions(conf), Queues: cs.Queues, Hostname: cs.Hostname, Logger: cs.Logger,
		MaxReconnects: cs.MaxReconnects, DelayQueueType: conf.BrokerNativeDelayedDeliveryQueueType,
		ConsumerTimeout: conf.BrokerTransportOptions.ConsumerTimeout,
	}
	queues := conf.Queues()
	to.Consumer.Queue = queues.Get
	to.Consumer.Delays = slices.ContainsFunc(queues.All(), func(q broker.Queue) bool { return q.Declaration.QueueType() == "quorum" })
	to.Publisher = amqpbroker.PublisherConfig{
		URL: cmp.Or(cs.WriteURL, cs.BrokerURL), Connection: to.Consumer.Connection, Logger: cs.Logger,
		TellLosses: cs.Logger != nil && cs.WriteURL != "" && cs.WriteURL != cs.BrokerURL, Queue: queues.Get, Bound: queues.All(), ControlExchange: conf.ControlExchange, EventExchange: conf.EventExchange,
		Control: amqpbroker.Mailbox{
			TTL: conf.ControlQueueTTL, Expires: conf.ControlQueueExpires, Shared: !conf.ControlQueueExclusive, Durable: conf.ControlQueueDurable,
		},
		Events: amqpbroker.Mailbox{
			TTL: conf.EventQueueTTL, Expires: conf.EventQueueExpires, Shared: !conf.EventQueueExclusive, Durable: conf.EventQueueDurable,
			Prefix: conf.EventQueuePrefix,
		},
	}
	to.Publisher.Delays, to.Publisher.DelayQueueType = to.Consumer.Delays, to.Consumer.DelayQueueType
	to.Manager = conf.BrokerTransportOptions.Manager
	if cs.Broker, err = cs.server("broker", &to.Consumer); err != nil {
		return err
	}
	cs.Written = cs.Broker
	if cs.WriteURL != "" {
		cs.Written, err = cs.server("broker", &to.Publisher)
	}
	return err
}

// amqpOptions are the settings that concern connections.
func amqpOptions(conf *settings.Settings) connection.AMQP {
	given := conf.BrokerTransportOptions
	o := connection.AMQP{
		Options: given.ConnectionOptions, UseTLS: conf.BrokerUseSSL, LoginMethod: conf.BrokerLoginMethod, Heartbeat: conf.BrokerHeartbeat,
		Properties: given.ClientProperties, ChannelMax: given.ChannelMax, FrameMax: given.FrameMax,
		Shuffle: conf.BrokerFailoverStrategy == "shuffle",
	}
	o.SocketConnectTimeout = cmp.Or(o.SocketConnectTimeout, conf.BrokerConnectionTimeout)
	if o.Heartbeat == 0 {
		o.Heartbeat = -1 // none
	}
	return o
}

func (overRabbit) server(cs *Connections) (connection.Server, error) { return cs.Broker, nil }

func (overRabbit) misconfigured(err error) bool { return rabbitconn.IsConfig(err) }

func (overRabbit) openConsumer(ctx context.Context, cs *Connections) (*Consumer, error) {
	cfg := cs.Rabbit.Consumer
	cfg.OnClaim = cs.OnClaim
	c, err := amqpbroker.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Consumer{
		Consumer: c, CloseWithin: c.CloseWithin, Connected: c.Connected, Reconnects: c.Reconnects, At: c.At,
		Stats: func(ctx context.Context) (metrics.BrokerStats, error) {
			lengths, err := c.QueueLengths(ctx)
			return metrics.BrokerStats{Queues: lengths, OnlyQueues: true}, err
		},
	}, nil
}

func (overRabbit) openPublisher(ctx context.Context, cs *Connections) (Publisher, error) {
	return amqpbroker.OpenPublisher(ctx, cs.Rabbit.Publisher)
}

func (overRabbit) openManagement(ctx context.Context, cs *Connections) (broker.Management, error) {
	return amqpbroker.OpenManagement(ctx, cs.Rabbit.management())
}

func (overRabbit) openDeadLetters(ctx context.Context, cs *Connections) (broker.DeadLetters, error) {
	return amqpbroker.OpenDeadLetters(ctx, cs.Rabbit.management())
}

// management is of where tasks are published.
func (r *RabbitSet) management() amqpbroker.ManagementConfig {
	return amqpbroker.ManagementConfig{URL: r.Publisher.URL, Connection: r.Publisher.Connection, Manager: r.Manager}
}

func (overRabbit) purge(ctx context.Context, cs *Connections, queues []broker.Queue) (int, error) {
	to := &cs.Rabbit.Consumer
	m, err := amqpbroker.OpenManagement(ctx, amqpbroker.ManagementConfig{URL: to.URL, Connection: to.Connection})
	if err != nil {
		return 0, err
	}
	return purgeAll(ctx, m, queues)
}

// RabbitNeeds are the rights that a worker, producer, beat or operator needs in RabbitMQ.
func (cs *Connections) RabbitNeeds(role string) []amqpbroker.Need {
	_, rpc := cs.results.(overRPC)
	return cs.Rabbit.Publisher.Needs(role, rpc)
}

// LastTried is which of the broker's servers could not be reached, of several the last one, and why.
func (cs *Connections) LastTried(err error) (server string, why error) {
	var failed *rabbitconn.ConnError
	if errors.As(err, &failed) {
		return failed.Server, rabbitconn.Described(failed.Err)
	}
	return cs.Broker.String(), err
}

// onRabbit tells whether messages pass through RabbitMQ.
func (cs *Connections) onRabbit() bool {
	_, ok := cs.transport.(overRabbit)
	return ok
}

// overRPC is Celery's rpc:// backend: results are messages to who has sent the task, through the broker.
type overRPC struct{}

func (overRPC) read(cs *Connections, conf *settings.Settings) error {
	if !cs.onRabbit() {
		return errors.New("result backend: rpc:// sends results through RabbitMQ, and the broker is another: name an amqp:// broker, or another result backend")
	}
	cs.Backend = connection.Server{Scheme: "rpc", URL: "rpc://"}
	cs.Rabbit.Results = rpcbackend.Config{
		URL: cs.Rabbit.Publisher.URL, Connection: cs.Rabbit.Publisher.Connection, Logger: cs.Logger, Serializer: conf.ResultSerializer,
		Persistent: conf.ResultPersistent != nil && *conf.ResultPersistent, Expires: forEver(conf.ResultExpires),
	}
	cs.Rabbit.Results.Connection.Name = cs.Hostname + " results"
	return nil
}

func (overRPC) open(cs *Connections) (*Results, error) {
	sender, err := rpcbackend.NewSender(cs.Rabbit.Results)
	if err != nil {
		return nil, err
	}
	inbox, err := rpcbackend.NewInbox(cs.Rabbit.Results)
	if err != nil {
		return nil, errors.Join(err, sender.Close())
	}
	return &Results{
		Store: sender, Loader: inbox, Ping: sender.Ping, Reconnects: sender.Reconnects, Misconfigured: rabbitconn.IsConfig,
		Close: func() error { return errors.Join(inbox.Close(), sender.Close()) },
	}, nil
}
