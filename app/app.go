// Package app is to a Go producer what app = Celery(...) is to a Python one: it connects
// to Redis as Celery's settings say, sends tasks and reads their results.
//
// The settings come from the file that scripts/export_settings.py writes of a Python app,
// so that both send alike:
//
//	conf, err := settings.Load(settings.Sources{File: "celery.json", Environ: os.Environ()})
//	shop, err := app.Open(ctx, conf)
//
// or from Go:
//
//	conf := settings.Default()
//	conf.BrokerURL, conf.ResultBackend = "redis://localhost:6379/0", "redis://localhost:6379/0"
package app

import (
	"context"
	"errors"

	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/settings"
)

// App is a client that is connected. It is safe for concurrent use; a program needs one
// for each set of settings.
type App struct {
	*client.Client
	closers []func() error
}

// Open connects to the broker and, if the settings name one, to the result backend:
// broker_url (or broker_write_url) and result_backend with their transport options, TLS and
// key prefixes. Tasks are sent as task_routes, task_queues, task_default_queue,
// task_serializer, task_compression, task_publish_retry, task_publish_retry_policy and
// task_send_sent_event say. Settings of workers have no effect, nor have changes that are made
// to conf later.
//
// Open fails with a *ConfigError or, if the broker cannot be reached now, a *ConnectionError;
// connections that are lost later are made again. Results need no connection before the first one is read.
func Open(ctx context.Context, conf *settings.Settings) (*App, error) {
	return OpenSigned(ctx, conf, nil)
}

// OpenSigned is Open for an app whose workers take only what is signed (Celery's serializer auth): tasks are signed with
// signed, package protocol/serializer's Signed. Nil: they are not.
func OpenSigned(ctx context.Context, conf *settings.Settings, signed protocol.Serializer) (*App, error) {
	conf, err := conf.Resolve()
	if err != nil {
		return nil, &ConfigError{err}
	}
	places := fromsettings.URLs(conf)
	if err := places.Read(conf); err != nil {
		return nil, &ConfigError{err}
	}
	publisher, err := places.OpenPublisher(ctx)
	if err != nil {
		return nil, connectionError(err, RoleBroker, places.Written)
	}
	a := &App{closers: []func() error{publisher.Close}}
	cfg := fromsettings.Producer(conf)
	cfg.Publisher, cfg.Signed = publisher, signed
	if places.BackendURL != "" {
		results, err := places.OpenResults()
		if err != nil {
			return nil, errors.Join(&ConfigError{err}, a.Close())
		}
		cfg.Loader = results.Loader
		a.closers = append(a.closers, results.Close)
	}
	if a.Client, err = client.New(cfg); err != nil {
		return nil, errors.Join(&ConfigError{err}, a.Close())
	}
	return a, nil
}

// Close ends the connections. Calls that are under way, and later ones, fail.
func (a *App) Close() error {
	var errs []error
	for _, end := range a.closers {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}
