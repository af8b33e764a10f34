package doctor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
)

// facts are all that the checks look at.
type facts struct {
	Patient

	brokerErr, resultsErr error // why it cannot be reached

	fleet   []*Worker
	doubles []string // names that several workers have
	clocks  map[string]window
	// asked tells that the workers were asked: without, an empty fleet means nothing.
	asked bool

	queues     []broker.QueueState // nil: they cannot be looked at
	figures    broker.Figures
	registered []broker.Registration // of Apium's workers on Redis
	claims     claims
	parked     []parkedQueue
	letters    []broker.Letter // some of them
	buried     int             // how many there are

	redis   *redisServer // of the broker; nil: it is another, or cannot be looked at
	results *redisServer // of the results, if that is another one
	rabbit  *rabbitServer
	rights  []rights

	unseen []Unseen
}

// parkedQueue is a queue with parked messages.
type parkedQueue struct {
	name      string
	n         int
	consumers []string // workers that bring them back on time
}

// letterSample is how many dead letters are looked at.
const letterSample = 200

// missed notes that something cannot be looked at.
func (f *facts) missed(what string, err error) {
	if err != nil {
		f.unseen = append(f.unseen, Unseen{what, err.Error()})
	}
}

// gather finds out everything that can be.
func (f *facts) gather(ctx context.Context) {
	f.askResults(ctx)
	publisher, err := f.Places.OpenPublisher(ctx)
	if err != nil {
		f.brokerErr = err
		return
	}
	defer func() { _ = publisher.Close() }()
	f.askRedis(ctx)
	m, err := f.Places.OpenManagement(ctx)
	if err == nil {
		defer func() { _ = m.Close() }()
	} else if !errors.Is(err, fromsettings.ErrUnmanaged) {
		f.missed("queues", err)
	}
	f.askFleet(ctx, publisher, m)
	f.askRabbit(ctx, publisher, m)
	if m == nil {
		return
	}
	f.askQueues(ctx, m)
	f.askParked(ctx, m)
	f.missed("dead letters", f.askLetters(ctx))
	f.missed("rights", f.askRights(ctx, m))
}

// patience is how long one answer is waited for, of the broker, the result backend, or a worker that is there.
func (f *facts) patience() time.Duration { return max(5*time.Second, f.Timeout) }

// askResults sees whether the result backend can be reached.
func (f *facts) askResults(ctx context.Context) {
	if f.Places.BackendURL == "" {
		return
	}
	results, err := f.Places.OpenResults()
	if err != nil {
		f.resultsErr = err
		return
	}
	defer func() { _ = results.Close() }()
	ctx, cancel := context.WithTimeout(ctx, f.patience())
	defer cancel()
	f.resultsErr = results.Ping(ctx)
}

// askQueues counts the messages of the queues that the settings name, that workers consume, and that the broker
// knows of.
func (f *facts) askQueues(ctx context.Context, m broker.Management) {
	named := slices.AppendSeq(f.declared(), maps.Keys(f.routed()))
	for _, w := range f.fleet {
		named = append(named, w.Queues...)
	}
	slices.Sort(named)
	states, err := m.Queues(ctx, slices.Compact(named), []string{f.Settings.EventExchange})
	if err != nil {
		f.missed("queues", err)
		return
	}
	f.queues, f.figures = states, m.Figures()
	if registry, ok := m.(broker.ClaimLister); ok {
		f.registered, err = registry.Registered(ctx)
		f.missed("registered workers", err)
	}
}

// declared are the queues of the settings.
func (f *facts) declared() (names []string) {
	for _, q := range f.Settings.Queues().All() {
		names = append(names, q.Name)
	}
	return names
}

func (f *facts) askParked(ctx context.Context, m broker.Management) {
	parks, ok := m.(broker.ParkedManagement)
	if !ok {
		return
	}
	names, err := parks.ParkedQueues(ctx)
	for _, name := range names {
		q := parkedQueue{name: name}
		if err == nil {
			q.n, err = parks.Parked(ctx, name)
		}
		if err == nil {
			q.consumers, err = parks.Consumers(ctx, name)
		}
		if err == nil && q.n > 0 {
			f.parked = append(f.parked, q)
		}
	}
	f.missed("parked messages", err)
}

func (f *facts) askLetters(ctx context.Context) (err error) {
	letters, err := f.Places.OpenDeadLetters(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	if f.buried, err = letters.Count(ctx); err != nil || f.buried == 0 {
		return err
	}
	f.letters, err = letters.List(ctx, 0, letterSample)
	return err
}

// Seen is what was looked at.
type Seen struct {
	Broker  string    `json:"broker"` // its URL, without the password
	Server  string    `json:"server"` // what it is, with its version: "Redis 7.0.15"; "" where it does not say
	Results string    `json:"results"`
	Workers []*Worker `json:"workers"`
	Queues  int       `json:"queues"`
	Waiting int       `json:"waiting"` // messages in all queues
}

func (f *facts) seen() Seen {
	s := Seen{Broker: f.Places.Broker.String(), Workers: f.fleet, Queues: len(f.queues)}
	if f.Places.BackendURL != "" {
		s.Results = f.Places.Backend.String()
	}
	switch {
	case f.redis != nil && f.redis.version() != "":
		s.Server = "Redis " + f.redis.version()
	case f.rabbit != nil:
		s.Server = "RabbitMQ " + f.rabbit.version
	}
	if s.Workers == nil {
		s.Workers = []*Worker{}
	}
	for _, q := range f.queues {
		s.Waiting += ready(q)
	}
	return s
}

// ready is how many messages of a queue wait, of all priorities.
func ready(q broker.QueueState) (n int) {
	for _, of := range q.Ready {
		n += of
	}
	return n
}
