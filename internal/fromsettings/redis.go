package fromsettings

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

// overRedis is kombu's Redis transport.
type overRedis struct{}

func (overRedis) read(cs *Connections, conf *settings.Settings) (err error) {
	cs.Consumer.URL, cs.Consumer.TLS = cs.BrokerURL, conf.BrokerUseSSL
	cs.Consumer.Connection = conf.BrokerTransportOptions.ConnectionOptions
	cs.Consumer.Connection.SocketConnectTimeout = cmp.Or(cs.Consumer.Connection.SocketConnectTimeout, conf.BrokerConnectionTimeout)
	shuffle := conf.BrokerFailoverStrategy == "shuffle"
	cs.Consumer.Failover = &connection.Failover{Shuffle: shuffle}
	applyTransport(&cs.Consumer, conf.BrokerTransportOptions)
	cs.Consumer.AliveFor = conf.AliveFor
	if limit := conf.BrokerPoolLimit; limit > 0 && limit < max(cs.Consumer.MaxConnections, 10) {
		cs.Consumer.MaxConnections = limit
	}
	cs.Publisher = redisbroker.PublisherConfig{
		URL:              cs.Consumer.URL,
		Connection:       cs.Consumer.Connection,
		TLS:              cs.Consumer.TLS,
		Failover:         cs.Consumer.Failover,
		PrioritySteps:    cs.Consumer.PrioritySteps,
		Sep:              cs.Consumer.Sep,
		GlobalKeyprefix:  cs.Consumer.GlobalKeyprefix,
		FanoutPrefix:     cs.Consumer.FanoutPrefix,
		NoFanoutPrefix:   cs.Consumer.NoFanoutPrefix,
		NoFanoutPatterns: cs.Consumer.NoFanoutPatterns,
		DeadletterQueue:  conf.BrokerTransportOptions.DeadletterQueue,
	}
	if cs.WriteURL != "" {
		cs.Publisher.URL, cs.Publisher.Failover = cs.WriteURL, &connection.Failover{Shuffle: shuffle}
	}
	if cs.Broker, err = cs.server("broker", &cs.Consumer); err != nil {
		return err
	}
	cs.Written = cs.Broker
	if cs.WriteURL != "" {
		if cs.Written, err = cs.server("broker", &cs.Publisher); err != nil {
			return err
		}
	}
	return nil
}

func (overRedis) server(cs *Connections) (connection.Server, error) { return cs.Consumer.Server() }

func (overRedis) openConsumer(ctx context.Context, cs *Connections) (*Consumer, error) {
	c, err := redisbroker.Open(ctx, cs.Consumer)
	if err != nil {
		return nil, err
	}
	return &Consumer{
		Consumer: c, CloseWithin: c.CloseWithin, Connected: c.Connected, Reconnects: c.Reconnects,
		Stats: func(ctx context.Context) (metrics.BrokerStats, error) { return redisStats(ctx, c) },
	}, nil
}

func (overRedis) openPublisher(ctx context.Context, cs *Connections) (Publisher, error) {
	return redisbroker.OpenPublisher(ctx, cs.Publisher)
}

func (overRedis) purge(ctx context.Context, cs *Connections, queues []broker.Queue) (total int, err error) {
	m, err := redisbroker.OpenManagement(ctx, cs.Consumer)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	for _, q := range queues {
		n, err := m.Purge(ctx, q.Name)
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

func (overRedis) openManagement(ctx context.Context, cs *Connections) (*redisbroker.Management, error) {
	cfg := cs.Consumer
	cfg.URL, cfg.Failover = cs.Publisher.URL, cs.Publisher.Failover
	return redisbroker.OpenManagement(ctx, cfg)
}

func (overRedis) openDeadLetters(ctx context.Context, cs *Connections) (*redisbroker.DeadLetters, error) {
	return redisbroker.OpenDeadLetters(ctx, cs.Publisher)
}

// redisStats answers a scrape's questions about the broker.
func redisStats(ctx context.Context, c *redisbroker.Consumer) (stats metrics.BrokerStats, err error) {
	lengths, err := c.QueueLengths(ctx)
	if err != nil {
		return stats, err
	}
	stats.Queues = make(map[string]int64, len(lengths))
	for queue, n := range lengths {
		stats.Queues[queue] = int64(n)
	}
	unacked, parked, err := c.Unacked(ctx)
	if err != nil {
		return stats, err
	}
	stats.Unacked, stats.Parked = int64(unacked), int64(parked)
	letters, err := c.DeadLetters(ctx)
	if err != nil {
		return stats, err
	}
	stats.DeadLetters = int64(letters)
	stats.OldestUnacked, err = c.OldestUnacked(ctx)
	return stats, err
}

// redisResults is Celery's Redis backend.
type redisResults struct{}

func (redisResults) open(cs *Connections) (*Results, error) {
	b, err := redisbackend.New(cs.Results)
	if err != nil {
		return nil, err
	}
	return &Results{Store: b, Loader: b, Ping: b.Ping, Reconnects: b.Reconnects, Close: b.Close}, nil
}

func (redisResults) read(cs *Connections, conf *settings.Settings) (err error) {
	options := conf.ResultBackendTransportOptions.ConnectionOptions
	options.Username = cmp.Or(conf.RedisUsername, options.Username)
	options.Password = cmp.Or(conf.RedisPassword, options.Password)
	options.SocketTimeout = cmp.Or(options.SocketTimeout, conf.RedisSocketTimeout)
	options.SocketConnectTimeout = cmp.Or(options.SocketConnectTimeout, conf.RedisSocketConnectTimeout)
	options.HealthCheckInterval = cmp.Or(options.HealthCheckInterval, conf.RedisBackendHealthCheckInterval)
	options.ClientName = cmp.Or(options.ClientName, conf.RedisClientName)
	cs.Results.URL, cs.Results.Connection, cs.Results.TLS = cs.BackendURL, options, conf.RedisBackendUseSSL
	cs.Results.GlobalKeyprefix = conf.ResultBackendTransportOptions.GlobalKeyprefix
	cs.Results.ChordUnordered = conf.ResultBackendTransportOptions.NoResultChordOrdered
	cs.Results.Serializer, cs.Results.Compression = conf.ResultSerializer, conf.ResultCompression
	if conf.ResultFailureExpires != nil {
		cs.Results.FailureExpires = forEver(*conf.ResultFailureExpires)
	}
	if conf.ResultChordExpires != nil {
		cs.Results.ChordExpires = forEver(*conf.ResultChordExpires)
	}
	cs.Backend, err = cs.server("result backend", &cs.Results)
	return err
}

// forEver is a time for which results are kept as redisbackend has it, where 0 is the default.
func forEver(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// applyTransport is broker_transport_options.
func applyTransport(cfg *redisbroker.Config, o settings.TransportOptions) {
	cfg.VisibilityTimeout = o.VisibilityTimeout
	cfg.PrioritySteps = o.PrioritySteps
	cfg.Sep = o.Sep
	cfg.QueueOrderStrategy = o.QueueOrderStrategy
	cfg.GlobalKeyprefix = o.GlobalKeyprefix
	cfg.UnackedKey = o.UnackedKey
	cfg.UnackedIndexKey = o.UnackedIndexKey
	cfg.UnackedMutexKey = o.UnackedMutexKey
	cfg.UnackedMutexExpire = o.UnackedMutexExpire
	cfg.UnackedRestoreLimit = o.UnackedRestoreLimit
	cfg.UnackedRestoreInterval = o.UnackedRestoreInterval
	cfg.UnackedRestoreThrottle = o.UnackedRestoreThrottle
	cfg.PollingInterval = o.PollingInterval
	cfg.MaxConnections = max(o.MaxConnections, 0)
	cfg.NoAckEmulation = o.NoAckEmulation
	cfg.NoFanoutPatterns = o.NoFanoutPatterns
	if o.FanoutPrefix != nil {
		cfg.FanoutPrefix, cfg.NoFanoutPrefix = *o.FanoutPrefix, *o.FanoutPrefix == ""
	}
}
