package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/reconnect"
)

// connect connects to the broker and the result backend.
func (s *service) connect(ctx context.Context) (err error) {
	if s.consumer, err = s.openConsumer(ctx); err != nil {
		return err
	}
	s.onClose(s.consumer.CloseWithin)
	if s.publisher, err = s.places.OpenPublisher(ctx); err != nil {
		return connectionError(err, RoleBroker, s.places.Written)
	}
	s.onClose(func(context.Context) error { return s.publisher.Close() })
	at := s.Broker()
	if s.consumer.At != nil {
		at = s.consumer.At()
	}
	reconnect.LogConnected(s.log, at)
	if s.places.BackendURL == "" {
		return nil
	}
	if s.store, err = s.openStore(ctx); err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return s.store.Close() })
	return nil
}

func connectionError(err error, role string, server fmt.Stringer) error {
	return &ConnectionError{Role: role, Server: server.String(), Err: err}
}

// openConsumer connects to the broker, trying again as Celery does while it
// cannot be reached. When ctx ends first, that is its error.
func (s *service) openConsumer(ctx context.Context) (*fromsettings.Consumer, error) {
	for try := 1; ; try++ {
		consumer, err := s.purgeAndOpen(ctx)
		if err == nil {
			return consumer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if s.places.Misconfigured(err) || !s.triesAgain(try) {
			s.logNoRetry(err)
			return nil, connectionError(err, RoleBroker, s.places.Broker)
		}
		server, why := s.places.LastTried(err)
		reconnect.LogRetry(s.log, server, why, try, s.conf.BrokerConnectionMaxRetries)
		select {
		case <-time.After(reconnect.Delay(try)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// purgeAndOpen opens the consumer, after what Options.Purge asks for.
func (s *service) purgeAndOpen(ctx context.Context) (*fromsettings.Consumer, error) {
	if s.opts.Purge != nil && !s.purged {
		total, err := s.places.Purge(ctx, s.Queues())
		if err != nil {
			return nil, err
		}
		if total > 0 {
			s.opts.Purge(total)
		}
		s.purged = true // once, however often the rest is tried
	}
	if s.figures.wanted.Load() {
		s.places.OnClaim = s.figures.Claimed
	}
	return s.places.OpenConsumer(ctx)
}

// retriesAtStart tells whether to connect again at the start, and which setting says so.
func (s *service) retriesAtStart() (setting string, retry bool) {
	if atStart := s.conf.BrokerConnectionRetryOnStartup; atStart != nil {
		return "broker_connection_retry_on_startup", *atStart
	}
	return "broker_connection_retry", s.conf.BrokerConnectionRetry
}

// logNoRetry is Celery's line where settings say not to connect again.
func (s *service) logNoRetry(err error) {
	name, retry := s.retriesAtStart()
	switch {
	case s.places.Misconfigured(err): // is the user's mistake, and said as that
	case retry:
		reconnect.LogGivenUp(s.log, err)
	default:
		s.log.Log(context.Background(), logline.LevelCritical, "Retrying to establish a connection to the message broker after a connection loss has been disabled "+
			"(app.conf."+name+"=False). Shutting down...", logline.EventKey, "Shutting down: connecting again is disabled", "error", err)
	}
}

// triesAgain tells whether to connect once more at the start, after so many times.
func (s *service) triesAgain(tries int) bool {
	_, retry := s.retriesAtStart()
	limit := s.conf.BrokerConnectionMaxRetries
	return retry && (limit == 0 || tries <= limit)
}

// storeTimeout is how long a worker waits at its start for the result backend. It
// starts without: results are stored as soon as there is a connection.
const storeTimeout = 5 * time.Second

// openStore connects to the result backend. A wrong password or database is an
// error; that Redis is away, or takes no writes just now, is none.
func (s *service) openStore(ctx context.Context) (*fromsettings.Results, error) {
	store, err := s.places.OpenResults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := store.Ping(ctx); err != nil {
		if store.Misconfigured(err) {
			return nil, errors.Join(connectionError(err, RoleResults, s.places.Backend), store.Close())
		}
		s.log.Error(fmt.Sprintf("Cannot connect to the result backend %s: %v. Trying again when there is a result", s.places.Backend, err),
			logline.EventKey, "Cannot connect to the result backend", "backend", s.places.Backend.String(), "error", err)
	}
	return store, nil
}
