// Package fromsettings turns Celery's settings into the configurations of the packages
// that connect and publish.
package fromsettings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

// Connections say how to reach the broker and the result backend.
type Connections struct {
	BrokerURL  string             // to consume from
	WriteURL   string             // to publish to; "": BrokerURL
	BackendURL string             // "": results are disabled
	Consumer   redisbroker.Config // without queues
	Publisher  redisbroker.PublisherConfig
	Results    redisbackend.Config

	// What these come to, for messages; Backend is zero if results are disabled.
	Broker, Written, Backend connection.Server

	Warnings []string // what of the URLs has no effect

	transport transport
	results   results
}

// DefaultURL is used when no broker is named. Celery's own default is RabbitMQ.
const DefaultURL = "redis://localhost:6379/0"

// URLs returns where to connect. Read does the rest.
func URLs(conf *settings.Settings) Connections {
	cs := Connections{
		BrokerURL: conf.BrokerURL, WriteURL: conf.BrokerWriteURL, BackendURL: conf.ResultURL(conf.ResultBackend),
		Results: redisbackend.Config{Expires: forEver(conf.ResultExpires)},
	}
	if conf.BrokerReadURL != "" {
		cs.WriteURL = cmp.Or(cs.WriteURL, conf.BrokerURL)
		cs.BrokerURL = conf.BrokerReadURL
	}
	cs.BrokerURL = cmp.Or(cs.BrokerURL, DefaultURL)
	return cs
}

// ForWorker returns how a worker connects that consumes these queues. logger may be nil.
func ForWorker(conf *settings.Settings, hostname string, queues []broker.Queue, logger *slog.Logger) (Connections, error) {
	cs := URLs(conf)
	cs.Consumer = redisbroker.Config{
		Queues: queues, Hostname: hostname, Logger: logger, MaxReconnects: conf.BrokerConnectionMaxRetries,
	}
	if !conf.BrokerConnectionRetry {
		cs.Consumer.MaxReconnects = -1
	}
	return cs, cs.Read(conf)
}

// Shown adds to a table of the settings that were given what the command line says about broker
// and results, as Celery shows it to operators.
func (cs *Connections) Shown(table map[string]any) map[string]any {
	table["broker_url"] = cs.BrokerURL
	if cs.BackendURL != "" {
		table["result_backend"] = cs.BackendURL
	}
	return table
}

// Read makes Consumer, Publisher and Results out of URLs and settings. What Consumer says that
// settings do not say stays.
func (cs *Connections) Read(conf *settings.Settings) (err error) {
	if cs.transport, err = transportOf(cs.BrokerURL); err != nil {
		return err
	}
	if cs.WriteURL != "" {
		to, err := transportOf(cs.WriteURL)
		if err != nil {
			return err
		}
		if to != cs.transport {
			return errors.New("broker: broker_read_url and broker_write_url must be of one kind")
		}
	}
	if err := cs.transport.read(cs, conf); err != nil || cs.BackendURL == "" {
		return err
	}
	if cs.results, err = resultsOf(cs.BackendURL); err != nil {
		return err
	}
	return cs.results.read(cs, conf)
}

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

// server finds out where a configuration leads, and remembers what has no effect of its URL.
func (cs *Connections) server(what string, cfg interface {
	Server() (connection.Server, error)
},
) (connection.Server, error) {
	server, err := cfg.Server()
	if err != nil {
		return server, fmt.Errorf("%s: %w", what, err)
	}
	for _, name := range server.Ignored {
		cs.Warnings = append(cs.Warnings, fmt.Sprintf("%s %s: the query parameter '%s' has no effect: there is no such option", what, server, name))
	}
	return server, nil
}

// forEver is a time for which results are kept as redisbackend has it, where 0 is the default.
func forEver(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// Consumed are the queues that a worker of that name consumes: those included, or all, but for
// those excluded.
func Consumed(conf *settings.Settings, include, exclude []string, hostname string) ([]broker.Queue, error) {
	queues, err := conf.Queues().Select(include, exclude)
	if err != nil {
		return nil, err
	}
	if len(queues) == 0 {
		return nil, errors.New("no queue is left to consume from")
	}
	if conf.WorkerDirect {
		queues = append(queues, settings.DirectQueue(hostname))
	}
	return queues, nil
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
