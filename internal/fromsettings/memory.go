package fromsettings

import (
	"context"
	"errors"
	"sync"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

// inProcess are the brokers and result backends in memory, by URL: as kombu's, they are one for
// all of the process, and live as long as it.
var inProcess struct {
	mu      sync.Mutex
	brokers map[string]*membroker.Broker
	results map[string]*membackend.Backend
}

func memoryBroker(url string) *membroker.Broker {
	inProcess.mu.Lock()
	defer inProcess.mu.Unlock()
	if inProcess.brokers == nil {
		inProcess.brokers = map[string]*membroker.Broker{}
	}
	if inProcess.brokers[url] == nil {
		inProcess.brokers[url] = &membroker.Broker{}
	}
	return inProcess.brokers[url]
}

// inMemory is memory://, for tests and for programs that send to themselves: kombu's transport of
// that name, with a broker for each host that the URL names.
type inMemory struct{}

func (inMemory) read(cs *Connections, _ *settings.Settings) error {
	cs.Broker = connection.Server{Scheme: "memory", URL: cs.BrokerURL}
	cs.Written = cs.Broker
	if cs.WriteURL != "" && cs.WriteURL != cs.BrokerURL {
		return errors.New("broker: memory:// is read and written at one URL")
	}
	return nil
}

func (inMemory) server(cs *Connections) (connection.Server, error) { return cs.Broker, nil }

func (inMemory) misconfigured(error) bool { return false }

func (inMemory) openConsumer(_ context.Context, cs *Connections) (*Consumer, error) {
	b := memoryBroker(cs.BrokerURL)
	c := b.ConsumerOf(cs.Queues...)
	return &Consumer{
		Consumer:    c,
		CloseWithin: func(context.Context) error { return c.Close() },
		Connected:   func() bool { return true },
		Stats: func(context.Context) (metrics.BrokerStats, error) {
			stats := metrics.BrokerStats{
				Queues: map[string]int64{}, Unacked: int64(b.Leased()), Parked: int64(b.Parked()), DeadLetters: int64(len(b.DeadLetters())),
			}
			for _, q := range cs.Queues {
				stats.Queues[q.Name] = int64(b.Len(q.Name))
			}
			return stats, nil
		},
	}, nil
}

func (inMemory) openPublisher(_ context.Context, cs *Connections) (Publisher, error) {
	p, ok := memoryBroker(cs.BrokerURL).Publisher().(Publisher)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return p, nil
}

func (inMemory) purge(ctx context.Context, cs *Connections, queues []broker.Queue) (total int, err error) {
	b := memoryBroker(cs.BrokerURL)
	c := b.ConsumerOf(queues...)
	defer func() { err = errors.Join(err, c.Close()) }()
	for waiting := func() (n int) {
		for _, q := range queues {
			n += b.Len(q.Name)
		}
		return n
	}; waiting() > 0; {
		deliveries, err := c.Claim(ctx, waiting())
		if err != nil {
			return total, err
		}
		for _, d := range deliveries {
			if _, err := c.Ack(ctx, d.Tag); err != nil {
				return total, err
			}
		}
		total += len(deliveries)
	}
	return total, nil
}

// memoryResults is cache+memory://, Celery's cache backend in the process.
type memoryResults struct{}

func (memoryResults) read(cs *Connections, _ *settings.Settings) error {
	cs.Backend = connection.Server{Scheme: "cache+memory", URL: cs.BackendURL}
	return nil
}

func (memoryResults) open(cs *Connections) (*Results, error) {
	inProcess.mu.Lock()
	defer inProcess.mu.Unlock()
	if inProcess.results == nil {
		inProcess.results = map[string]*membackend.Backend{}
	}
	store := inProcess.results[cs.BackendURL]
	if store == nil {
		store = membackend.New()
		inProcess.results[cs.BackendURL] = store
	}
	return &Results{
		Store: store, Loader: store,
		Ping:          func(context.Context) error { return nil },
		Misconfigured: func(error) bool { return false },
		Close:         func() error { return nil }, // others of the process use it
	}, nil
}
