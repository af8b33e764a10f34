// Package fromsettings turns Celery's settings into the configurations of the packages
// that connect and publish.
package fromsettings

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
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
