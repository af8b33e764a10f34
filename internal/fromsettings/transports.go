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
	// misconfigured tells whether only other settings mend an error of connecting.
	misconfigured(err error) bool
	openConsumer(ctx context.Context, cs *Connections) (*Consumer, error)
	openPublisher(ctx context.Context, cs *Connections) (Publisher, error)
	// purge drops what waits in queues, and tells how many messages that were.
	purge(ctx context.Context, cs *Connections, queues []broker.Queue) (int, error)
}

// managed is a transport whose queues and dead letters can be looked after from outside.
type managed interface {
	openManagement(ctx context.Context, cs *Connections) (broker.Management, error)
	openDeadLetters(ctx context.Context, cs *Connections) (broker.DeadLetters, error)
}

// ErrUnmanaged says that the queues of a broker cannot be looked after from outside.
var ErrUnmanaged = errors.New("this is not supported for such a broker: only those who use it know its queues")

// results is a kind of result backend, in the same way.
type results interface {
	read(cs *Connections, conf *settings.Settings) error
	open(cs *Connections) (*Results, error)
}

// LinkedResults is a kind of result backend that only programs have that link it. It finds out where
// Connections.BackendURL leads and what the settings mean there, without connecting.
type LinkedResults func(cs *Connections, conf *settings.Settings) (at connection.Server, open func() (*Results, error), err error)

// LinkResults adds a kind of result backend, for URLs that begin with its name, alone or followed by +
// or ://. Packages do so when they are initialized, and only then.
func LinkResults(name string, kind LinkedResults) { resultBackends[name] = kind }

func (l LinkedResults) read(cs *Connections, conf *settings.Settings) error {
	at, open, err := l(cs, conf)
	if err != nil {
		return err
	}
	cs.Backend, cs.results = at, opened(open)
	for _, name := range at.Ignored {
		cs.Warnings = append(cs.Warnings, fmt.Sprintf("result backend %s: the option '%s' has no effect here", at, name))
	}
	return nil
}

// open is never called: read leaves another in its place.
func (l LinkedResults) open(*Connections) (*Results, error) { return nil, errors.ErrUnsupported }

// opened is a linked result backend whose settings are read.
type opened func() (*Results, error)

func (o opened) read(*Connections, *settings.Settings) error { return nil }
func (o opened) open(*Connections) (*Results, error)         { return o() }

// transports are the brokers by the scheme of their URLs.
var transports = map[string]transport{
	"redis": overRedis{}, "rediss": overRedis{}, "redis+socket": overRedis{}, "sentinel": overRedis{},
	"amqp": overRabbit{}, "amqps": overRabbit{}, "pyamqp": overRabbit{}, "librabbitmq": overRabbit{},
	"memory": inMemory{},
}

// resultBackends are the result backends by the scheme of their URLs.
var resultBackends = map[string]results{
	"redis": redisResults{}, "rediss": redisResults{}, "redis+socket": redisResults{}, "sentinel": redisResults{},
	"rpc":          overRPC{},
	"cache+memory": memoryResults{},
}

// Consumer is a consumer that is connected, and what is asked about it.
type Consumer struct {
	broker.Consumer
	CloseWithin func(ctx context.Context) error
	Connected   func() bool
	Reconnects  func() int64 // nil: there is no connection to lose
	Stats       func(ctx context.Context) (metrics.BrokerStats, error)
	At          func() string // to which of several servers it is connected; nil: there is one
}

// Publisher is what a worker says all it has to say with.
type Publisher interface {
	broker.Publisher
	broker.Broadcaster
	broker.Replier
	broker.Asker
}

// Watched is implemented by publishers with a connection that the broker may block.
type Watched interface {
	Connected() bool
	Reconnects() int64
	// Blocked tells whether the broker takes no messages now, and why.
	Blocked() (reason string, blocked bool)
}

// Results is a result backend. It connects when it is used.
type Results struct {
	Store      backend.Store
	Loader     backend.Loader
	Ping       func(ctx context.Context) error
	Reconnects func() int64 // nil: there is no connection to lose
	// Misconfigured tells whether an error of Ping's is one that only other settings mend: a wrong
	// password, say.
	Misconfigured func(err error) bool
	Close         func() error
}

// OpenConsumer connects to where messages come from. It fails if that cannot be reached now.
func (cs *Connections) OpenConsumer(ctx context.Context) (*Consumer, error) {
	return cs.transport.openConsumer(ctx, cs)
}

// OpenPublisher connects to where messages go. It fails if that cannot be reached now.
func (cs *Connections) OpenPublisher(ctx context.Context) (Publisher, error) {
	return orNil(cs.transport.openPublisher(ctx, cs))
}

// orNil is what was opened, an interface; nil after an error, where it may hold a nil pointer, and would not be nil itself.
func orNil[T any](it T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return it, nil
}

// Misconfigured tells whether an error of connecting to the broker is one that only other settings mend:
// a wrong password, say.
func (cs *Connections) Misconfigured(err error) bool { return cs.transport.misconfigured(err) }

// Purge drops what waits in queues, and tells how many messages that were.
func (cs *Connections) Purge(ctx context.Context, queues []broker.Queue) (int, error) {
	return cs.transport.purge(ctx, cs, queues)
}

// purgeAll drops what waits in queues, and closes the management it is done with.
func purgeAll(ctx context.Context, m broker.Management, queues []broker.Queue) (total int, err error) {
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

// OpenManagement connects to look after queues, where tasks are published.
func (cs *Connections) OpenManagement(ctx context.Context) (broker.Management, error) {
	if m, ok := cs.transport.(managed); ok {
		return orNil(m.openManagement(ctx, cs))
	}
	return nil, ErrUnmanaged
}

// OpenDeadLetters connects to look after dead letters.
func (cs *Connections) OpenDeadLetters(ctx context.Context) (broker.DeadLetters, error) {
	if m, ok := cs.transport.(managed); ok {
		return orNil(m.openDeadLetters(ctx, cs))
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
		return nil, fmt.Errorf("broker: %s:// is not supported yet: %s. Messages can come from Redis (redis://, rediss://, redis+socket://, sentinel://) or RabbitMQ (amqp://, amqps://)", scheme, what)
	}
	return nil, fmt.Errorf("broker: %s", unknown(scheme, transports, missingTransports))
}

// resultsOf finds the result backend of a URL.
func resultsOf(url string) (results, error) {
	scheme := schemeOf(url)
	base, _, _ := strings.Cut(scheme, "+") // db+postgresql
	for _, name := range []string{scheme, base} {
		if r, ok := resultBackends[name]; ok {
			return r, nil
		}
	}
	name := scheme
	if strings.Contains(url, "://") {
		name += "://"
	}
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
		text = "it should start with redis:// or amqp://"
	} else if meant := nearest.Name(scheme, slices.Compact(known)); meant != "" {
		text += ". Did you mean '" + meant + "'?"
	} else {
		text += "; a redis:// or amqp:// URL is"
	}
	return text
}
