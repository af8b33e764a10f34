package simulation_test

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/internal/rabbitmemory"
	"github.com/apium/apium/settings/connection"
)

const (
	rabbitURL  = "amqp://guest:guest@rabbit:5672//"
	rabbitAddr = "rabbit:5672"
)

// TestRabbit has workers run tasks from a RabbitMQ in memory, with their results in Redis.
func TestRabbit(t *testing.T) {
	t.Parallel()
	eachSeed(t, simulateRabbit)
}

func simulateRabbit(t *testing.T, seed uint64) {
	var log journal
	f := prepare(t, seed, &log)
	defer f.close()
	f.overRabbit(seed)
	f.connect()
	random := f.network.Random()
	for range 1 + random.IntN(3) {
		f.start()
	}
	f.work(&workload{random: random, ledger: f.ledger}, &log, "TestRabbit", seed)
}

// rabbit is a RabbitMQ and how it is used. The zero value is none.
type rabbit struct {
	*rabbitmemory.Server

	queueType string
	delays    string        // the type of the queues of native delayed delivery
	heartbeat time.Duration // after a few of which a silent connection is over
	timeout   time.Duration // consumer_timeout; 0: none
}

// overRabbit has the fleet's messages go over RabbitMQ.
func (f *fleet) overRabbit(seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // it must be repeatable
	r := rabbit{
		queueType: []string{"classic", "quorum"}[dice.IntN(2)], delays: []string{"classic", "quorum"}[dice.IntN(2)],
		heartbeat: []time.Duration{4 * time.Second, time.Minute}[dice.IntN(2)], timeout: []time.Duration{0, 20 * time.Second}[dice.IntN(2)],
	}
	lag := []time.Duration{0, 5 * time.Millisecond, 300 * time.Millisecond}[dice.IntN(3)]
	fmt.Fprintf(f.log, "%+v, ends are known within %v\n", r, lag)
	r.Server = rabbitmemory.New(rabbitmemory.Options{
		Heartbeat: r.heartbeat, ConsumerTimeout: r.timeout, Ended: f.ledger.tookBack,
		Lag: func() time.Duration {
			if lag == 0 {
				return 0
			}
			return time.Duration(dice.Int64N(int64(lag)))
		},
	})
	f.rabbit, f.ledger.byRabbit, f.ledger.timeout = r, true, r.timeout
	f.closing = append(f.closing, r.Close)
}

func (r *rabbit) connection(f *fleet, name string) connection.AMQP {
	return connection.AMQP{Options: connection.Options{Dial: f.network.Dialer(name)}, Name: name}
}

func (r *rabbit) queue(name string) (broker.Queue, error) {
	q := broker.Named(name)[0]
	q.Declaration.SetArgument("x-queue-type", r.queueType)
	return q, nil
}

func (r *rabbit) publishing(f *fleet, name string) amqpbroker.PublisherConfig {
	return amqpbroker.PublisherConfig{URL: rabbitURL, Connection: r.connection(f, name), Queue: r.queue, DelayQueueType: r.delays}
}

func (r *rabbit) consuming(f *fleet, name string, log *slog.Logger) amqpbroker.Config {
	q, _ := r.queue("celery")
	return amqpbroker.Config{
		URL: rabbitURL, Connection: r.connection(f, name), Queues: []broker.Queue{q}, Queue: r.queue, DelayQueueType: r.delays, ConsumerTimeout: r.timeout,
		Hostname: name, Logger: log,
	}
}

// messages are the queues that have any, but for notes whose copies are gone.
func (r *rabbit) messages() []string {
	n := r.Len()
	maps.DeleteFunc(n, func(queue string, _ int) bool { return strings.HasSuffix(queue, ".notes") })
	return slices.Sorted(maps.Keys(n))
}

// between tells whether somebody's message and a copy of it are both there, as notes say: a moment at which much can go wrong.
func (r *rabbit) between() bool {
	for queue := range r.Len() {
		if strings.HasSuffix(queue, ".notes") {
			return true
		}
	}
	return false
}

// wentBack is a message that RabbitMQ has taken back from a node, as the channel it was delivered on has ended.
type wentBack struct {
	node, name string
	at         time.Time
}

// hit is the end of a connection of a node.
type hit struct {
	node string
	at   time.Time
}

// tookBack notes what a channel held that has ended.
func (l *ledger) tookBack(connection string, held []rabbitmemory.Held) {
	node, _, _ := strings.Cut(connection, " ")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hits = append(l.hits, hit{node, time.Now()})
	known := map[string]bool{} // a message and its copy are one
	for _, h := range held {
		if name := attempt(h.CorrelationID, int(h.Number("retries"))); !known[name] {
			known[name] = true
			l.back = append(l.back, wentBack{node, name, time.Now()})
		}
	}
}

// again tells whether RabbitMQ had reason to deliver a task again that ran before, or somebody to publish it again. Who runs it later may have got it
// first: its connection was lost, and it could not know that. l.mu is held.
func (l *ledger) again(name string, e expected, before []*run, next *run) bool {
	reasons := 0 // each is one for one run
	for _, b := range l.back {
		if b.name == name && !b.at.After(next.began) && (l.unaware(next.node, b.at, next.began) && b.node == next.node ||
			slices.ContainsFunc(before, func(first *run) bool {
				return b.node == first.node && (!b.at.Before(first.began) || l.unaware(first.node, b.at, first.began))
			})) {
			reasons++
		}
	}
	if reasons >= len(before) {
		return true
	}
	if e.delays && l.hit("", e.sent, next.began) {
		return true
	}
	for _, by := range e.follows {
		runs := l.runs[by]
		if len(runs) > 1 {
			return true // whoever ran it has published it
		}
		if len(runs) == 1 && l.hit(runs[0].node, runs[0].began, next.began) {
			return true
		}
	}
	return len(e.follows) == 0 && l.hit("client", e.sent, next.began)
}

// unaware tells whether a node could not hear, between some moment and another one, that it had lost its connection. l.mu is held.
func (l *ledger) unaware(node string, lost, began time.Time) bool {
	return slices.ContainsFunc(l.away[node], func(s *span) bool {
		return !s.from.After(began) && (s.until.IsZero() || !s.until.Add(time.Second).Before(lost))
	})
}

// hit tells whether a node, or any if it is "", lost a connection, or was away. l.mu is held.
func (l *ledger) hit(node string, from, to time.Time) bool {
	if slices.ContainsFunc(l.hits, func(h hit) bool { return (node == "" || h.node == node) && !h.at.Before(from) && !h.at.After(to) }) {
		return true
	}
	for of, spans := range l.away {
		if (node == "" || of == node) && slices.ContainsFunc(spans, func(s *span) bool {
			return !s.from.After(to) && (s.until.IsZero() || !s.until.Before(from))
		}) {
			return true
		}
	}
	return false
}
