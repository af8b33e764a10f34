package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings"
)

// connections say how to reach the broker and the result backend.
type connections struct {
	brokerURL  string // to consume from
	writeURL   string // to publish to; "": brokerURL
	backendURL string // "": results are disabled
	publisher  redisbroker.PublisherConfig
	results    redisbackend.Config
}

func readURLs(c *cli.Context, conf *settings.Settings) connections {
	cs := connections{brokerURL: conf.BrokerURL, backendURL: conf.ResultBackend, writeURL: conf.BrokerWriteURL}
	if conf.BrokerReadURL != "" {
		cs.brokerURL = conf.BrokerReadURL
		if cs.writeURL == "" {
			cs.writeURL = conf.BrokerURL
		}
	}
	if url := c.String("broker"); url != "" {
		cs.brokerURL, cs.writeURL = url, ""
	}
	if url := c.String("result-backend"); url != "" {
		cs.backendURL = url
	}
	if cs.brokerURL == "" {
		cs.brokerURL = defaultURL
	}
	if cs.backendURL == "disabled://" || cs.backendURL == "disabled" {
		cs.backendURL = ""
	}
	return cs
}

// readBroker reads how to reach the broker alone. What is wrong with it is the user's mistake.
func readBroker(c *cli.Context, conf *settings.Settings, consumer *redisbroker.Config) (connections, error) {
	cs := readURLs(c, conf)
	cs.backendURL = "" // of no concern here
	if err := cs.read(conf, consumer); err != nil {
		return cs, usage(c, err, false)
	}
	return cs, nil
}

// useEmbedded takes an embedded Redis for broker and results, whatever conf says about others.
func (cs *connections) useEmbedded(url string, conf *settings.Settings) {
	cs.brokerURL, cs.writeURL, cs.backendURL = url, "", url
	conf.BrokerUseSSL, conf.RedisBackendUseSSL, conf.RedisUsername, conf.RedisPassword = nil, nil, "", ""
	conf.BrokerTransportOptions.ConnectionOptions = settings.ConnectionOptions{}
	conf.ResultBackendTransportOptions.ConnectionOptions = settings.ConnectionOptions{}
}

// read makes consumer, cs.publisher and cs.results out of URLs and settings.
func (cs *connections) read(conf *settings.Settings, consumer *redisbroker.Config) (err error) {
	options := connectionOptions(conf.BrokerTransportOptions.ConnectionOptions, conf.BrokerUseSSL)
	options.Shuffle = conf.BrokerFailoverStrategy == "shuffle"
	if options.ConnectTimeout == 0 && conf.IsSet("broker_connection_timeout") {
		options.ConnectTimeout = conf.BrokerConnectionTimeout
	}
	if consumer.Redis, err = redisconn.Parse(cs.brokerURL, redisconn.Broker, options); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	applyTransport(consumer, conf.BrokerTransportOptions)
	cs.publisher = redisbroker.PublisherConfig{
		Redis:            consumer.Redis,
		PrioritySteps:    consumer.PrioritySteps,
		Sep:              consumer.Sep,
		GlobalKeyprefix:  consumer.GlobalKeyprefix,
		FanoutPrefix:     consumer.FanoutPrefix,
		NoFanoutPrefix:   consumer.NoFanoutPrefix,
		NoFanoutPatterns: consumer.NoFanoutPatterns,
		DeadletterQueue:  conf.BrokerTransportOptions.DeadletterQueue,
	}
	if cs.writeURL != "" {
		if cs.publisher.Redis, err = redisconn.Parse(cs.writeURL, redisconn.Broker, options); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	if cs.backendURL == "" {
		return nil
	}
	return cs.readResults(conf)
}

func (cs *connections) readResults(conf *settings.Settings) (err error) {
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
	cs.results.GlobalKeyprefix = conf.ResultBackendTransportOptions.GlobalKeyprefix
	cs.results.ChordUnordered = conf.ResultBackendTransportOptions.NoResultChordOrdered
	cs.results.Serializer, cs.results.Compression = conf.ResultSerializer, conf.ResultCompression
	if conf.ResultFailureExpires != nil {
		cs.results.FailureExpires = forEver(*conf.ResultFailureExpires)
	}
	if conf.ResultChordExpires != nil {
		cs.results.ChordExpires = forEver(*conf.ResultChordExpires)
	}
	if cs.results.Redis, err = redisconn.Parse(cs.backendURL, redisconn.Backend, options); err != nil {
		return fmt.Errorf("result backend: %w", err)
	}
	return nil
}

// forEver is a time for which results are kept as redisbackend has it, where 0 is the default.
func forEver(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// Celery's pace for the first connection: 2 s, 4 s, … up to 32 s, by default a hundred times.
const (
	connectStep     = 2 * time.Second
	connectMaxDelay = 32 * time.Second
)

// openConsumer connects to the broker, trying again as Celery does while Redis
// cannot be reached. When ctx ends first, that is its error.
func (s *workerSettings) openConsumer(ctx context.Context) (*redisbroker.Consumer, error) {
	for try := 1; ; try++ {
		consumer, err := redisbroker.Open(ctx, s.consumer)
		if err == nil {
			return consumer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if redisconn.IsConfig(err) || !s.triesAgain(try) {
			return nil, fmt.Errorf("cannot connect to %s: %w", s.consumer.Redis, err)
		}
		delay := min(time.Duration(try)*connectStep, connectMaxDelay)
		s.log.Error(fmt.Sprintf("consumer: Cannot connect to %s: %v.\nTrying again in %.2f seconds... (%d/%d)\n",
			s.consumer.Redis, err, delay.Seconds(), try, s.conf.BrokerConnectionMaxRetries))
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// openPublisher connects for what tasks publish.
func (cs *connections) openPublisher(ctx context.Context) (*redisbroker.Publisher, error) {
	publisher, err := redisbroker.OpenPublisher(ctx, cs.publisher)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", cs.publisher.Redis, err)
	}
	return publisher, nil
}

// triesAgain tells whether to connect once more at the start, after so many times.
func (s *workerSettings) triesAgain(tries int) bool {
	retry := s.conf.BrokerConnectionRetry
	if s.conf.BrokerConnectionRetryOnStartup != nil {
		retry = *s.conf.BrokerConnectionRetryOnStartup
	}
	limit := s.conf.BrokerConnectionMaxRetries
	return retry && (limit == 0 || tries <= limit)
}

// storeTimeout is how long a worker waits at its start for the result backend. It
// starts without: results are stored as soon as there is a connection.
const storeTimeout = 5 * time.Second

// openStore connects to the result backend. A wrong password or database is an
// error; that Redis is away, or takes no writes just now, is none.
func (s *workerSettings) openStore(ctx context.Context) (*redisbackend.Backend, error) {
	store, err := redisbackend.New(s.results)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := store.Ping(ctx); err != nil {
		if redisconn.IsConfig(err) {
			return nil, errors.Join(fmt.Errorf("cannot connect to the result backend %s: %w", s.results.Redis, err), store.Close())
		}
		s.log.Error(fmt.Sprintf("Cannot connect to the result backend %s: %v. Trying again when there is a result", s.results.Redis, err))
	}
	return store, nil
}

// openClient connects a producer, and a reader of results if there is a result backend.
func (cs *connections) openClient(ctx context.Context, cfg client.Config) (*client.Client, func() error, error) {
	publisher, err := cs.openPublisher(ctx)
	if err != nil {
		return nil, nil, err
	}
	cfg.Publisher = publisher
	closeAll := publisher.Close
	if cs.results.Redis != nil {
		results, err := redisbackend.New(cs.results)
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
