package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings"
)

// readURLs reads where to connect; flags win.
func readURLs(c *cli.Context, conf *settings.Settings) fromsettings.Connections {
	return fromsettings.URLs(conf, c.String("broker"), c.String("result-backend"))
}

// checkApp refuses an app that is named and not read: its broker is hardly the default.
func checkApp(c *cli.Context, conf *settings.Settings) error {
	app := c.String("app")
	if app == "" || c.String("config") != "" || c.String("broker") != "" || conf.BrokerURL != "" || conf.BrokerReadURL != "" || c.Bool("embedded") {
		return nil
	}
	return usage(c, fmt.Errorf("the app '%s' cannot be read here: export its settings (scripts/export_settings.py -A %s > celery.json) "+
		"and give them with --config celery.json, or name the broker with -b (results need --result-backend)", app, app), false)
}

// readBroker reads how to reach the broker alone. What is wrong with it is the user's mistake.
func readBroker(c *cli.Context, conf *settings.Settings) (fromsettings.Connections, error) {
	cs := readURLs(c, conf)
	cs.BackendURL = "" // of no concern here
	if err := checkApp(c, conf); err != nil {
		return cs, err
	}
	if err := cs.Read(conf); err != nil {
		return cs, usage(c, err, false)
	}
	return cs, nil
}

// useEmbedded takes an embedded Redis for broker and results, whatever conf says about others.
func useEmbedded(cs *fromsettings.Connections, url string, conf *settings.Settings) {
	cs.BrokerURL, cs.WriteURL, cs.BackendURL = url, "", url
	conf.BrokerUseSSL, conf.RedisBackendUseSSL, conf.RedisUsername, conf.RedisPassword = nil, nil, "", ""
	conf.BrokerTransportOptions.ConnectionOptions = settings.ConnectionOptions{}
	conf.ResultBackendTransportOptions.ConnectionOptions = settings.ConnectionOptions{}
}

// openConsumer connects to the broker, trying again as Celery does while Redis
// cannot be reached. When ctx ends first, that is its error.
func (s *workerSettings) openConsumer(ctx context.Context, out io.Writer) (*redisbroker.Consumer, error) {
	for try := 1; ; try++ {
		consumer, err := s.purgeAndOpen(ctx, out)
		if err == nil {
			return consumer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if redisconn.IsConfig(err) || !s.triesAgain(try) {
			s.logNoRetry(err)
			return nil, &unavailableError{fmt.Errorf("cannot connect to %s: %w", s.Broker, err)}
		}
		redisconn.LogRetry(s.log, s.Broker, err, try, s.conf.BrokerConnectionMaxRetries)
		select {
		case <-time.After(redisconn.RetryDelay(try)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// purgeAndOpen opens the consumer, after what --purge asks for.
func (s *workerSettings) purgeAndOpen(ctx context.Context, out io.Writer) (*redisbroker.Consumer, error) {
	if s.purge {
		total, err := purgeAtStart(ctx, s.Consumer)
		if err != nil {
			return nil, err
		}
		if total > 0 {
			s.purged(out, total)
		}
		s.purge = false // once, however often the rest is tried
	}
	return redisbroker.Open(ctx, s.Consumer)
}

// logNoRetry is Celery's line where settings say not to connect again.
func (s *workerSettings) logNoRetry(err error) {
	name, retry := "broker_connection_retry", s.conf.BrokerConnectionRetry
	if s.conf.BrokerConnectionRetryOnStartup != nil {
		name, retry = "broker_connection_retry_on_startup", *s.conf.BrokerConnectionRetryOnStartup
	}
	switch {
	case redisconn.IsConfig(err): // is the user's mistake, and said as that
	case retry:
		redisconn.LogGivenUp(s.log, err)
	default:
		s.log.Log(context.Background(), logline.LevelCritical, "Retrying to establish a connection to the message broker after a connection loss has been disabled "+
			"(app.conf."+name+"=False). Shutting down...", logline.EventKey, "Shutting down: connecting again is disabled", "error", err)
	}
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
	store, err := redisbackend.New(s.Results)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := store.Ping(ctx); err != nil {
		if redisconn.IsConfig(err) {
			err = fmt.Errorf("cannot connect to the result backend %s: %w", s.Backend, err)
			return nil, errors.Join(&unavailableError{err}, store.Close())
		}
		s.log.Error(fmt.Sprintf("Cannot connect to the result backend %s: %v. Trying again when there is a result", s.Backend, err),
			logline.EventKey, "Cannot connect to the result backend", "backend", s.Backend.String(), "error", err)
	}
	return store, nil
}
