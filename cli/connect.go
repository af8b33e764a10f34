package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/redisconn"
)

// connections say how to reach the broker and the result backend.
type connections struct {
	brokerURL  string
	backendURL string // "": results are disabled
	publisher  redisbroker.PublisherConfig
	results    redisbackend.Config
}

func readURLs(c *cli.Context) connections {
	cs := connections{brokerURL: c.String("broker"), backendURL: c.String("result-backend")}
	if cs.brokerURL == "" {
		cs.brokerURL = defaultURL
	}
	if cs.backendURL == "disabled://" || cs.backendURL == "disabled" {
		cs.backendURL = ""
	}
	return cs
}

// useEmbedded takes an embedded Redis for broker and results.
func (cs *connections) useEmbedded(url string) { cs.brokerURL, cs.backendURL = url, url }

// read parses URLs and transport options into consumer and cs.results.
func (cs *connections) read(c *cli.Context, consumer *redisbroker.Config) error {
	var options redisconn.Options
	known := connectionSettings(&options)
	maps.Copy(known, consumerSettings(consumer))
	known["deadletter_queue"] = setText(&cs.publisher.DeadletterQueue)
	if err := applyOptions("broker-transport-options", c.StringSlice("broker-transport-options"), known); err != nil {
		return err
	}
	var err error
	if consumer.Redis, err = redisconn.Parse(cs.brokerURL, redisconn.Broker, options); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	cs.publisher = redisbroker.PublisherConfig{
		Redis:            consumer.Redis,
		PrioritySteps:    consumer.PrioritySteps,
		Sep:              consumer.Sep,
		GlobalKeyprefix:  consumer.GlobalKeyprefix,
		FanoutPrefix:     consumer.FanoutPrefix,
		NoFanoutPrefix:   consumer.NoFanoutPrefix,
		NoFanoutPatterns: consumer.NoFanoutPatterns,
		DeadletterQueue:  cs.publisher.DeadletterQueue,
	}
	if cs.backendURL == "" {
		return nil
	}
	options = redisconn.Options{}
	known = connectionSettings(&options)
	known["global_keyprefix"] = setText(&cs.results.GlobalKeyprefix)
	known["retry_policy"] = setNothing // ours
	if err := applyOptions("result-backend-transport-options", c.StringSlice("result-backend-transport-options"), known); err != nil {
		return err
	}
	if cs.results.Redis, err = redisconn.Parse(cs.backendURL, redisconn.Backend, options); err != nil {
		return fmt.Errorf("result backend: %w", err)
	}
	return nil
}

// consumerSettings are kombu's transport options about queues and claims.
func consumerSettings(cfg *redisbroker.Config) map[string]setting {
	return map[string]setting{
		"visibility_timeout":       setSeconds(&cfg.VisibilityTimeout),
		"priority_steps":           setInts(&cfg.PrioritySteps),
		"sep":                      setText(&cfg.Sep),
		"queue_order_strategy":     setText(&cfg.QueueOrderStrategy),
		"global_keyprefix":         setText(&cfg.GlobalKeyprefix),
		"unacked_key":              setText(&cfg.UnackedKey),
		"unacked_index_key":        setText(&cfg.UnackedIndexKey),
		"unacked_mutex_key":        setText(&cfg.UnackedMutexKey),
		"unacked_mutex_expire":     setSeconds(&cfg.UnackedMutexExpire),
		"unacked_restore_limit":    setInt(&cfg.UnackedRestoreLimit),
		"unacked_restore_interval": setSeconds(&cfg.UnackedRestoreInterval),
		"unacked_restore_throttle": setInt(&cfg.UnackedRestoreThrottle),
		"polling_interval":         setSeconds(&cfg.PollingInterval),
		"ack_emulation":            setFalse(&cfg.NoAckEmulation),
		"fanout_prefix":            setPrefix(&cfg.FanoutPrefix, &cfg.NoFanoutPrefix),
		"fanout_patterns":          setFalse(&cfg.NoFanoutPatterns),
		"body_encoding":            setNothing, // messages say their own
		"max_retries":              setNothing, // of publishing, in Python
		"interval_start":           setNothing,
		"interval_step":            setNothing,
		"interval_max":             setNothing,
	}
}

// Celery's pace for the first connection: 2 s, 4 s, … up to 32 s, a hundred times.
const (
	connectStep     = 2 * time.Second
	connectMaxDelay = 32 * time.Second
	connectMaxTries = 100
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
		if redisconn.IsConfig(err) || try > connectMaxTries {
			return nil, fmt.Errorf("cannot connect to %s: %w", s.consumer.Redis, err)
		}
		delay := min(time.Duration(try)*connectStep, connectMaxDelay)
		s.log.Error(fmt.Sprintf("consumer: Cannot connect to %s: %v.\nTrying again in %.2f seconds... (%d/%d)\n",
			s.consumer.Redis, err, delay.Seconds(), try, connectMaxTries))
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
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
func (cs *connections) openClient(ctx context.Context) (*client.Client, func() error, error) {
	publisher, err := redisbroker.OpenPublisher(ctx, cs.publisher)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot connect to %s: %w", cs.publisher.Redis, err)
	}
	cfg := client.Config{Publisher: publisher}
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
	return producer, closeAll, err
}
