package fromsettings

import (
	"cmp"
	"context"
	"time"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

// overRedis is kombu's Redis transport.
type overRedis struct{}

// RedisSet is how broker and result backend are reached in Redis.
type RedisSet struct {
	Consumer  redisbroker.Config
	Publisher redisbroker.PublisherConfig
	Results   redisbackend.Config
}

func (overRedis) read(cs *Connections, conf *settings.Settings) (err error) {
	to := &cs.Redis
	to.Consumer = redisbroker.Config{
		URL: cs.BrokerURL, TLS: conf.BrokerUseSSL, Connection: conf.BrokerTransportOptions.ConnectionOptions,
		Queues: cs.Queues, Hostname: cs.Hostname, Logger: cs.Logger, MaxReconnects: cs.MaxReconnects, AliveFor: conf.AliveFor,
	}
	to.Consumer.Connection.SocketConnectTimeout = cmp.Or(to.Consumer.Connection.SocketConnectTimeout, conf.BrokerConnectionTimeout)
	shuffle := conf.BrokerFailoverStrategy == "shuffle"
	to.Consumer.Failover = &connection.Failover{Shuffle: shuffle}
	applyTransport(&to.Consumer, conf.BrokerTransportOptions)
	if limit := conf.BrokerPoolLimit; limit > 0 && limit < max(to.Consumer.MaxConnections, 10) {
		to.Consumer.MaxConnections = limit
	}
	to.Publisher = redisbroker.PublisherConfig{
		URL:              to.Consumer.URL,
		Connection:       to.Consumer.Connection,
		TLS:              to.Consumer.TLS,
		Failover:         to.Consumer.Failover,
		PrioritySteps:    to.Consumer.PrioritySteps,
		Sep:              to.Consumer.Sep,
		GlobalKeyprefix:  to.Consumer.GlobalKeyprefix,
		FanoutPrefix:     to.Consumer.FanoutPrefix,
		NoFanoutPrefix:   to.Consumer.NoFanoutPrefix,
		NoFanoutPatterns: to.Consumer.NoFanoutPatterns,
		DeadletterQueue:  conf.BrokerTransportOptions.DeadletterQueue,
	}
	if cs.WriteURL != "" {
		to.Publisher.URL, to.Publisher.Failover = cs.WriteURL, &connection.Failover{Shuffle: shuffle}
	}
	if cs.Broker, err = cs.server("broker", &to.Consumer); err != nil {
		return err
	}
	cs.Written = cs.Broker
	if cs.WriteURL != "" {
		if cs.Written, err = cs.server("broker", &to.Publisher); err != nil {
			return err
		}
	}
	return nil
}

func (overRedis) server(cs *Connections) (connection.Server, error) {
	return cs.Redis.Consumer.Server()
}

func (overRedis) misconfigured(err error) bool { return redisconn.IsConfig(err) }

func (overRedis) openConsumer(ctx context.Context, cs *Connections) (*Consumer, error) {
	cfg := cs.Redis.Consumer
	cfg.OnClaim = cs.OnClaim
	c, err := redisbroker.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Consumer{
		Consumer: c, CloseWithin: c.CloseWithin, Connected: c.Connected, Reconnects: c.Reconnects,
		Stats: func(ctx context.Context) (metrics.BrokerStats, error) { return redisStats(ctx, c) },
	}, nil
}

func (overRedis) openPublisher(ctx context.Context, cs *Connections) (Publisher, error) {
	return redisbroker.OpenPublisher(ctx, cs.Redis.Publisher)
}

func (overRedis) purge(ctx context.Context, cs *Connections, queues []broker.Queue) (int, error) {
	m, err := redisbroker.OpenManagement(ctx, cs.Redis.Consumer)
	if err != nil {
		return 0, err
	}
	return purgeAll(ctx, m, queues)
}

func (overRedis) openManagement(ctx context.Context, cs *Connections) (broker.Management, error) {
	cfg := cs.Redis.Consumer
	cfg.URL, cfg.Failover = cs.Redis.Publisher.URL, cs.Redis.Publisher.Failover
	return redisbroker.OpenManagement(ctx, cfg)
}

func (overRedis) openDeadLetters(ctx context.Context, cs *Connections) (broker.DeadLetters, error) {
	return redisbroker.OpenDeadLetters(ctx, cs.Redis.Publisher)
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
	b, err := redisbackend.New(cs.Redis.Results)
	if err != nil {
		return nil, err
	}
	return &Results{Store: b, Loader: b, Ping: b.Ping, Reconnects: b.Reconnects, Misconfigured: redisconn.IsConfig, Close: b.Close}, nil
}

func (redisResults) read(cs *Connections, conf *settings.Settings) (err error) {
	options := conf.ResultBackendTransportOptions.ConnectionOptions
	options.Username = cmp.Or(conf.RedisUsername, options.Username)
	options.Password = cmp.Or(conf.RedisPassword, options.Password)
	options.SocketTimeout = cmp.Or(options.SocketTimeout, conf.RedisSocketTimeout)
	options.SocketConnectTimeout = cmp.Or(options.SocketConnectTimeout, conf.RedisSocketConnectTimeout)
	options.HealthCheckInterval = cmp.Or(options.HealthCheckInterval, conf.RedisBackendHealthCheckInterval)
	options.ClientName = cmp.Or(options.ClientName, conf.RedisClientName)
	to := &cs.Redis.Results
	*to = redisbackend.Config{
		URL: cs.BackendURL, Connection: options, TLS: conf.RedisBackendUseSSL,
		GlobalKeyprefix: conf.ResultBackendTransportOptions.GlobalKeyprefix,
		ChordUnordered:  conf.ResultBackendTransportOptions.NoResultChordOrdered,
		Serializer:      conf.ResultSerializer, Compression: conf.ResultCompression, Expires: to.Expires,
		ChordLease: chordLease(conf.AliveFor),
	}
	if conf.ResultFailureExpires != nil {
		to.FailureExpires = forEver(*conf.ResultFailureExpires)
	}
	if conf.ResultChordExpires != nil {
		to.ChordExpires = forEver(*conf.ResultChordExpires)
	}
	cs.Backend, err = cs.server("result backend", to)
	return err
}

// chordLease is how long a worker has a chord for itself that it has completed, where others take it for dead after aliveFor. They
// have its messages after two thirds of that, at the earliest, as it shows three signs of life in that time.
func chordLease(aliveFor time.Duration) time.Duration {
	if aliveFor == 0 {
		return 0 // the default
	}
	return min(redisbackend.DefaultChordLease, aliveFor/2)
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

// RedisServers returns how to reach the Redis of the broker and that of the results; nil where it is no Redis.
func (cs *Connections) RedisServers() (messages, results *redisconn.Config, err error) {
	if _, ok := cs.transport.(overRedis); ok {
		c := &cs.Redis.Consumer
		if messages, err = redisconn.Parse(c.URL, redisconn.Broker, redisconn.Options{Options: c.Connection, UseTLS: c.TLS, Failover: c.Failover}); err != nil {
			return nil, nil, err
		}
	}
	if _, ok := cs.results.(redisResults); ok && cs.BackendURL != "" {
		c := &cs.Redis.Results
		results, err = redisconn.Parse(c.URL, redisconn.Backend, redisconn.Options{Options: c.Connection, UseTLS: c.TLS})
	}
	return messages, results, err
}
