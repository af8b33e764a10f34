package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Broker tells what only the broker knows.
type Broker interface {
	// BrokerStats is asked at each scrape, by one caller at a time. It should give
	// up when ctx is done; the scrape does not wait for it any longer.
	BrokerStats(ctx context.Context) (BrokerStats, error)
}

// BrokerStats are figures all workers of a broker share.
type BrokerStats struct {
	// Queues is the number of waiting messages by queue, all its priorities
	// together. Dashboards add this figure up over workers: leave out queues that
	// another worker reports.
	Queues map[string]int64
	// Unacked is the number of messages all workers hold.
	Unacked int64
	// Parked is the number of messages that the broker keeps until they are due.
	Parked int64
	// DeadLetters is the number of messages nobody tries again unless told to.
	DeadLetters int64
	// OldestUnacked is the time since the oldest of their leases was made or
	// renewed. 0 without any.
	OldestUnacked time.Duration
	// OnlyQueues says that Queues is all that the broker tells.
	OnlyQueues bool
}

// brokerCollector asks the broker at each scrape.
type brokerCollector struct {
	broker  Broker
	timeout time.Duration
	turn    chan struct{} // holds one token: the right to ask

	up, length, unacked, parked, letters, oldest *prometheus.Desc
}

func newBrokerCollector(b Broker, timeout time.Duration) *brokerCollector {
	return &brokerCollector{
		broker: b, timeout: timeout,
		turn: make(chan struct{}, 1),
		up: prometheus.NewDesc("apium_broker_up",
			"Whether the broker answered this scrape in time.", nil, nil),
		length: prometheus.NewDesc("celery_queue_length",
			"The number of message in broker queue.", []string{"queue_name"}, nil),
		unacked: prometheus.NewDesc("apium_unacked_messages",
			"Messages that all workers of this broker hold.", nil, nil),
		parked: prometheus.NewDesc("apium_parked_messages",
			"Messages that the broker keeps until they are due, of all queues.", nil, nil),
		letters: prometheus.NewDesc("apium_dead_letters",
			"Messages among the dead letters.", nil, nil),
		oldest: prometheus.NewDesc("apium_oldest_unacked_age_seconds",
			"Time since the oldest lease on a message was made or renewed, by any worker.", nil, nil),
	}
}

func (c *brokerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.length, c.unacked, c.parked, c.letters, c.oldest} {
		ch <- d
	}
}

func (c *brokerCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	stats, ok := c.ask()
	if !ok {
		gauge(c.up, 0)
		return
	}
	gauge(c.up, 1)
	if !stats.OnlyQueues {
		gauge(c.unacked, float64(stats.Unacked))
		gauge(c.parked, float64(stats.Parked))
		gauge(c.letters, float64(stats.DeadLetters))
		gauge(c.oldest, stats.OldestUnacked.Seconds())
	}
	for queue, n := range stats.Queues {
		gauge(c.length, float64(n), queue)
	}
}

// ask waits for an answer until the timeout and no longer, whatever the broker does.
// A question that hangs keeps its turn, so that hanging questions do not pile up.
func (c *brokerCollector) ask() (BrokerStats, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return BrokerStats{}, false
	}
	type answer struct {
		stats BrokerStats
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		defer func() { <-c.turn }()
		defer cancel()
		stats, err := c.broker.BrokerStats(ctx)
		answers <- answer{stats, err}
	}()
	select {
	case a := <-answers:
		return a.stats, a.err == nil
	case <-ctx.Done():
		return BrokerStats{}, false
	}
}
