package fromsettings

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/nearest"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

// transport is a kind of broker: a further one is a package, an implementation of this, and a
// line in transports.
type transport interface {
	// read finds out where the URLs lead, and what the settings mean there.
	read(cs *Connections, conf *settings.Settings) error
	// server is where messages come from: of several, the one in use.
	server(cs *Connections) (connection.Server, error)
	openConsumer(ctx context.Context, cs *Connections) (*Consumer, error)
	openPublisher(ctx context.Context, cs *Connections) (Publisher, error)
	// purge drops what waits in queues, and tells how many messages that were.
	purge(ctx context.Context, cs *Connections, queues []broker.Queue) (int, error)
}

// managed is a transport whose queues and dead letters can be looked after from outside.
type managed interface {
	openManagement(ctx context.Context, cs *Connections) (*redisbroker.Management, error)
	openDeadLetters(ctx context.Context, cs *Connections) (*redisbroker.DeadLetters, error)
}

// ErrUnmanaged says that the queues of a broker cannot be looked after from outside.
var ErrUnmanaged = errors.New("this is not supported for such a broker: only those who use it know its queues")

// results is a kind of result backend, in the same way.
type results interface {
	read(cs *Connections, conf *settings.Settings) error
	open(cs *Connections) (*Results, error)
}

// transports are the brokers by the scheme of their URLs.
var transports = map[string]transport{
	"redis": overRedis{}, "rediss": overRedis{}, "redis+socket": overRedis{}, "sentinel": overRedis{},
	"memory": inMemory{},
}

// resultBackends are the result backends by the scheme of their URLs.
var resultBackends = map[string]results{
	"redis": redisResults{}, "rediss": redisResults{}, "redis+socket": redisResults{}, "sentinel": redisResults{},
	"cache+memory": memoryResults{},
}

// Consumer is a consumer that is connected, and what is asked about it.
type Consumer struct {
	broker.Consumer
	CloseWithin func(ctx context.Context) error
	Connected   func() bool
	Reconnects  func() int64 // nil: there is no connection to lose
	Stats       func(ctx context.Context) (metrics.BrokerStats, error)
}

// Publisher is what a worker says all it has to say with.
type Publisher interface {
	broker.Publisher
	broker.Broadcaster
	broker.Replier
	broker.Asker
}

// Results is a result backend. It connects when it is used.
type Results struct {
	Store      backend.Store
	Loader     backend.Loader
	Ping       func(ctx context.Context) error
	Reconnects func() int64 // nil: there is no connection to lose
	Close      func() error
}

// OpenConsumer connects to where messages come from. It fails if that cannot be reached now.
func (cs *Connections) OpenConsumer(ctx context.Context) (*Consumer, error) {
	return cs.transport.openConsumer(ctx, cs)
}

// OpenPublisher connects to where messages go. It fails if that cannot be reached now.
func (cs *Connections) OpenPublisher(ctx context.Context) (Publisher, error) {
	return cs.transport.openPublisher(ctx, cs)
}

// Purge drops what waits in queues, and tells how many messages that were.
func (cs *Connections) Purge(ctx context.Context, queues []broker.Queue) (int, error) {
	return cs.transport.purge(ctx, cs, queues)
}

// OpenManagement connects to look after queues, where tasks are published.
func (cs *Connections) OpenManagement(ctx context.Context) (*redisbroker.Management, error) {
	if m, ok := cs.transport.(managed); ok {
		return m.openManagement(ctx, cs)
	}
	return nil, ErrUnmanaged
}

// OpenDeadLetters connects to look after dead letters.
func (cs *Connections) OpenDeadLetters(ctx context.Context) (*redisbroker.DeadLetters, error) {
	if m, ok := cs.transport.(managed); ok {
		return m.openDeadLetters(ctx, cs)
	}
	return nil, ErrUnmanaged
}

// Server is where messages come from: of several, the one in use.
func (cs *Connections) Server() (connection.Server, error) { return cs.transport.server(cs) }

// OpenResults returns the result backend; it fails if the settings make none.
func (cs *Connections) OpenResults() (*Results, error) { return cs.results.open(cs) }

// transportOf finds the transport of a broker's URL.
func transportOf(url string) (transport, error) {
	scheme := schemeOf(url)
	if t, ok := transports[scheme]; ok {
		return t, nil
	}
	base, _, _ := strings.Cut(strings.ToLower(scheme), "+") // sqla+postgresql
	if what, ok := missingTransports[base]; ok {
		return nil, fmt.Errorf("broker: %s:// is not supported yet: %s. Messages can come from Redis: redis://, rediss://, redis+socket:// or sentinel://", scheme, what)
	}
	return nil, fmt.Errorf("broker: %s", unknown(scheme, transports, missingTransports))
}

// resultsOf finds the result backend of a URL.
func resultsOf(url string) (results, error) {
	scheme := schemeOf(url)
	if r, ok := resultBackends[scheme]; ok {
		return r, nil
	}
	name := scheme
	if strings.Contains(url, "://") {
		name += "://"
	}
	base, _, _ := strings.Cut(scheme, "+") // db+postgresql
	if what, ok := missingResults[base]; ok {
		return nil, fmt.Errorf("result backend: '%s' is not supported yet: %s. Results can be stored in Redis, where Python reads them, "+
			"with a redis:// URL; disabled:// stores none", name, what)
	}
	if strings.ContainsAny(name, ".") {
		return nil, fmt.Errorf("result backend: '%s' is a class in Python, and cannot be used here. A redis:// URL can, and disabled:// stores no results", name)
	}
	return nil, fmt.Errorf("result backend: %s", unknown(scheme, resultBackends, missingResults))
}

// schemeOf is what a URL, or the first of several, begins with.
func schemeOf(url string) string {
	scheme, _, _ := strings.Cut(url, "://")
	return strings.TrimSpace(scheme)
}

// unknown says that a scheme is none, and which was meant.
func unknown[T any](scheme string, built map[string]T, missing map[string]string) string {
	known := slices.AppendSeq(slices.Collect(maps.Keys(built)), maps.Keys(missing))
	slices.Sort(known)
	text := fmt.Sprintf("there is no '%s'", scheme)
	if strings.ContainsAny(scheme, ":@/") { // no scheme at all, and perhaps a password
		text = "it should start with redis://"
	} else if meant := nearest.Name(scheme, slices.Compact(known)); meant != "" {
		text += ". Did you mean '" + meant + "'?"
	} else {
		text += "; a redis:// URL is"
	}
	return text
}
