// Package fromsettings turns Celery's settings into the configurations of the packages
// that connect and publish.
package fromsettings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings"
)

// Connections say how to reach the broker and the result backend.
type Connections struct {
	BrokerURL  string             // to consume from
	WriteURL   string             // to publish to; "": BrokerURL
	BackendURL string             // "": results are disabled
	Consumer   redisbroker.Config // without queues
	Publisher  redisbroker.PublisherConfig
	Results    redisbackend.Config
	Warnings   []string // what of the URLs has no effect
}

// DefaultURL is used when no broker is named. Celery's own default is RabbitMQ.
const DefaultURL = "redis://localhost:6379/0"

// URLs returns where to connect: what the settings say, unless broker or backend are
// given. Read does the rest.
func URLs(conf *settings.Settings, broker, backend string) Connections {
	cs := Connections{
		BrokerURL: conf.BrokerURL, WriteURL: conf.BrokerWriteURL, BackendURL: conf.ResultURL(cmp.Or(backend, conf.ResultBackend)),
		Results: redisbackend.Config{Expires: ForEver(conf.ResultExpires)},
	}
	if conf.BrokerReadURL != "" {
		cs.WriteURL = cmp.Or(cs.WriteURL, conf.BrokerURL)
		cs.BrokerURL = conf.BrokerReadURL
	}
	if broker != "" {
		cs.BrokerURL, cs.WriteURL = broker, ""
	}
	cs.BrokerURL = cmp.Or(cs.BrokerURL, DefaultURL)
	return cs
}

// Read makes Consumer, Publisher and Results out of URLs and settings. What Consumer says that
// settings do not say stays.
func (cs *Connections) Read(conf *settings.Settings) (err error) {
	options := connectionOptions(conf.BrokerTransportOptions.ConnectionOptions, conf.BrokerUseSSL)
	options.Shuffle = conf.BrokerFailoverStrategy == "shuffle"
	if options.ConnectTimeout == 0 && conf.IsSet("broker_connection_timeout") {
		options.ConnectTimeout = conf.BrokerConnectionTimeout
	}
	if cs.Consumer.Redis, err = cs.parse("broker", cs.BrokerURL, redisconn.Broker, options); err != nil {
		return err
	}
	applyTransport(&cs.Consumer, conf.BrokerTransportOptions)
	cs.Consumer.AliveFor = conf.AliveFor
	if limit := conf.BrokerPoolLimit; limit > 0 && limit < max(cs.Consumer.MaxConnections, 10) {
		cs.Consumer.MaxConnections = limit
	}
	cs.Publisher = redisbroker.PublisherConfig{
		Redis:            cs.Consumer.Redis,
		PrioritySteps:    cs.Consumer.PrioritySteps,
		Sep:              cs.Consumer.Sep,
		GlobalKeyprefix:  cs.Consumer.GlobalKeyprefix,
		FanoutPrefix:     cs.Consumer.FanoutPrefix,
		NoFanoutPrefix:   cs.Consumer.NoFanoutPrefix,
		NoFanoutPatterns: cs.Consumer.NoFanoutPatterns,
		DeadletterQueue:  conf.BrokerTransportOptions.DeadletterQueue,
	}
	if cs.WriteURL != "" {
		if cs.Publisher.Redis, err = cs.parse("broker", cs.WriteURL, redisconn.Broker, options); err != nil {
			return err
		}
	}
	if cs.BackendURL == "" {
		return nil
	}
	return cs.readResults(conf)
}

func (cs *Connections) readResults(conf *settings.Settings) (err error) {
	options := connectionOptions(conf.ResultBackendTransportOptions.ConnectionOptions, conf.RedisBackendUseSSL)
	if conf.RedisUsername != "" {
		options.Username = conf.RedisUsername
	}
	if conf.RedisPassword != "" {
		options.Password = conf.RedisPassword
	}
	if options.ReadTimeout == 0 && conf.IsSet("redis_socket_timeout") {
		options.ReadTimeout = conf.RedisSocketTimeout
	}
	if options.ConnectTimeout == 0 {
		options.ConnectTimeout = conf.RedisSocketConnectTimeout
	}
	if options.HealthCheck == 0 {
		options.HealthCheck = conf.RedisBackendHealthCheckInterval
	}
	options.ClientName = cmp.Or(options.ClientName, conf.RedisClientName)
	cs.Results.GlobalKeyprefix = conf.ResultBackendTransportOptions.GlobalKeyprefix
	cs.Results.ChordUnordered = conf.ResultBackendTransportOptions.NoResultChordOrdered
	cs.Results.Serializer, cs.Results.Compression = conf.ResultSerializer, conf.ResultCompression
	if conf.ResultFailureExpires != nil {
		cs.Results.FailureExpires = ForEver(*conf.ResultFailureExpires)
	}
	if conf.ResultChordExpires != nil {
		cs.Results.ChordExpires = ForEver(*conf.ResultChordExpires)
	}
	if !strings.Contains(cs.BackendURL, "://") {
		return fmt.Errorf("result backend: '%s' is not supported; a redis:// URL is, and disabled:// stores no results", cs.BackendURL)
	}
	cs.Results.Redis, err = cs.parse("result backend", cs.BackendURL, redisconn.Backend, options)
	return err
}

// parse reads a URL and remembers what has no effect of it.
func (cs *Connections) parse(what, url string, role redisconn.Role, options redisconn.Options) (*redisconn.Config, error) {
	cfg, err := redisconn.Parse(url, role, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	for _, name := range cfg.Ignored() {
		cs.Warnings = append(cs.Warnings, fmt.Sprintf("%s %s: the query parameter '%s' has no effect: there is no such option", what, cfg, name))
	}
	return cfg, nil
}

// ForEver is a time for which results are kept as redisbackend has it, where 0 is the default.
func ForEver(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// OpenPublisher connects for what tasks publish.
func (cs *Connections) OpenPublisher(ctx context.Context) (*redisbroker.Publisher, error) {
	publisher, err := redisbroker.OpenPublisher(ctx, cs.Publisher)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", cs.Publisher.Redis, err)
	}
	return publisher, nil
}

// OpenClient connects a producer, and a reader of results if there is a result backend.
func (cs *Connections) OpenClient(ctx context.Context, cfg client.Config) (*client.Client, func() error, error) {
	publisher, err := cs.OpenPublisher(ctx)
	if err != nil {
		return nil, nil, err
	}
	cfg.Publisher = publisher
	closeAll := publisher.Close
	if cs.Results.Redis != nil {
		results, err := redisbackend.New(cs.Results)
		if err != nil {
			return nil, nil, errors.Join(err, publisher.Close())
		}
		cfg.Loader = results
		closeAll = func() error { return errors.Join(publisher.Close(), results.Close()) }
	}
	producer, err := client.New(cfg)
	if err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return producer, closeAll, nil
}

// Queues are queues as the broker takes them.
func Queues(queues []settings.Queue) []broker.Queue {
	out := make([]broker.Queue, len(queues))
	for i, q := range queues {
		out[i] = broker.Queue{
			Name: q.Name, Exchange: q.Exchange, ExchangeType: q.ExchangeType, RoutingKey: q.RoutingKey, Alias: q.Alias, AutoDelete: q.Broadcast,
		}
		for _, b := range q.Bindings {
			out[i].Bindings = append(out[i].Bindings, broker.Source(b))
		}
	}
	return out
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

// connectionOptions are what transport options say about connections.
func connectionOptions(o settings.ConnectionOptions, tls *settings.TLS) redisconn.Options {
	options := redisconn.Options{
		ReadTimeout:       o.SocketTimeout,
		ConnectTimeout:    o.SocketConnectTimeout,
		HealthCheck:       o.HealthCheckInterval,
		ClientName:        o.ClientName,
		Username:          o.Username,
		Password:          o.Password,
		MasterName:        o.MasterName,
		MinOtherSentinels: o.MinOtherSentinels,
		SentinelUsername:  o.SentinelUsername,
		SentinelPassword:  o.SentinelPassword,
	}
	if tls != nil {
		options.UseTLS = &redisconn.TLSOptions{
			CertReqs: tls.CertReqs, CACerts: tls.CACerts, CAPath: tls.CAPath, CAData: tls.CAData, CertFile: tls.CertFile, KeyFile: tls.KeyFile, CheckHostname: tls.CheckHostname,
		}
	}
	return options
}
