// Package fromsettings turns Celery's settings into the configurations of the packages
// that connect and publish.
package fromsettings

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

// Connections say how to reach the broker and the result backend.
type Connections struct {
	BrokerURL  string // to consume from
	WriteURL   string // to publish to; "": BrokerURL
	BackendURL string // "": results are disabled

	Consuming // what a worker says of itself
	// What all that comes to in a broker or result backend of a kind; zero where no URL leads to one.
	Redis  RedisSet
	Rabbit RabbitSet

	// What these come to, for messages; Backend is zero if results are disabled.
	Broker, Written, Backend connection.Server

	// Python says what the Python app, if there is one, does with results. What it stores is left to
	// it: then BackendURL is "".
	Python Python

	Warnings []string // what of the URLs has no effect

	transport transport
	results   results
}

// Consuming is who consumes, and how. The zero value is for those who only publish.
type Consuming struct {
	Queues        []broker.Queue
	Hostname      string
	Logger        *slog.Logger // nil: slog.Default()
	MaxReconnects int          // attempts to make a lost connection again; 0: no limit, negative: none
	OnClaim       func(n int)  // is told how many messages were claimed; nil: nobody is
}

// Python is what a Python app can do with results.
type Python struct {
	Stores bool   // there is one, and it can store what is not built here
	Only   string // why results in SQL must be stored by it; "": they need not
}

// DefaultURL is used when no broker is named. Celery's own default is RabbitMQ.
const DefaultURL = "redis://localhost:6379/0"

// URLs returns where to connect. Read does the rest.
func URLs(conf *settings.Settings) Connections {
	cs := Connections{BrokerURL: conf.BrokerURL, WriteURL: conf.BrokerWriteURL, BackendURL: conf.ResultURL(conf.ResultBackend)}
	cs.Redis.Results.Expires = forEver(conf.ResultExpires)
	if conf.BrokerReadURL != "" {
		cs.WriteURL = cmp.Or(cs.WriteURL, conf.BrokerURL)
		cs.BrokerURL = conf.BrokerReadURL
	}
	cs.BrokerURL = cmp.Or(cs.BrokerURL, DefaultURL)
	return cs
}

// ForWorker returns how a worker connects that consumes these queues. logger may be nil.
func ForWorker(conf *settings.Settings, hostname string, queues []broker.Queue, app Python, logger *slog.Logger) (Connections, error) {
	cs := URLs(conf)
	cs.Python = app
	cs.Consuming = Consuming{Queues: queues, Hostname: hostname, Logger: logger, MaxReconnects: conf.BrokerConnectionMaxRetries}
	if !conf.BrokerConnectionRetry {
		cs.MaxReconnects = -1
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

// Read finds out where the URLs lead, and what the settings mean there.
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
	cs.results, err = resultsOf(cs.BackendURL)
	if err != nil && cs.Python.Stores {
		cs.BackendURL = ""
		return nil
	}
	if err != nil {
		return err
	}
	if _, rpc := cs.results.(overRPC); rpc && cs.Python.Stores && !cs.onRabbit() {
		cs.BackendURL = "" // kombu sends results through any broker
		return nil
	}
	if linked, ok := cs.results.(LinkedResults); ok && cs.Python.Stores {
		return cs.readOrLeave(linked, conf)
	}
	return cs.results.read(cs, conf)
}

// readOrLeave leaves results to the Python app that must not, or cannot, be stored here. That is
// slower: so it says why.
func (cs *Connections) readOrLeave(linked LinkedResults, conf *settings.Settings) error {
	why := cs.Python.Only
	if why == "" {
		err := linked.read(cs, conf)
		if err == nil {
			return nil
		}
		why = err.Error()
	}
	cs.BackendURL = ""
	cs.Warnings = append(cs.Warnings, "results are stored by the app's own processes, one by one, which takes longer: "+why)
	return nil
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
		return nil, errNoQueue
	}
	if conf.WorkerDirect {
		queues = append(queues, conf.Queues().Direct(hostname))
	}
	return queues, nil
}

// ConsumedByApp are the queues that a Python app consumes, which come as the setting task_queues does: with
// what -Q, -X and the app's receivers of signals have made of them.
func ConsumedByApp(taskQueues []byte) ([]broker.Queue, error) {
	conf, err := settings.Load(settings.Sources{Exported: slices.Concat([]byte(`{"task_queues": `), taskQueues, []byte{'}'})})
	if err != nil {
		return nil, err
	}
	if len(conf.TaskQueues) == 0 {
		return nil, errNoQueue
	}
	return conf.Queues().All(), nil
}

var errNoQueue = errors.New("no queue is left to consume from")
