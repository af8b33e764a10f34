package cli

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/metrics"
	"github.com/apium/apium/worker"
)

var errNotConnected = errors.New("not connected to the broker yet")

// brokerStats answers a scrape's questions about the broker, from the moment the
// worker is connected to it.
type brokerStats struct {
	consumer atomic.Pointer[redisbroker.Consumer]
	store    atomic.Pointer[redisbackend.Backend] // nil: none
	// Reconnects are counted at each scrape, which has one caller at a time.
	figures *metrics.Metrics
	broker  int64
	backend int64
}

// watched is a worker whose readiness includes its broker's.
type watched struct {
	*worker.Worker
	consumer *redisbroker.Consumer
}

func (w watched) Ready() error {
	if err := w.Worker.Ready(); err != nil {
		return err
	}
	if !w.consumer.Connected() {
		return errors.New("not connected to the broker")
	}
	return nil
}

// BrokerStats implements metrics.Broker.
func (b *brokerStats) BrokerStats(ctx context.Context) (metrics.BrokerStats, error) {
	consumer := b.consumer.Load()
	if consumer == nil {
		return metrics.BrokerStats{}, errNotConnected
	}
	for n := consumer.Reconnects(); b.broker < n; b.broker++ {
		b.figures.Reconnected("broker")
	}
	if store := b.store.Load(); store != nil {
		for n := store.Reconnects(); b.backend < n; b.backend++ {
			b.figures.Reconnected("backend")
		}
	}
	var stats metrics.BrokerStats
	lengths, err := consumer.QueueLengths(ctx)
	if err != nil {
		return stats, err
	}
	stats.Queues = make(map[string]int64, len(lengths))
	for queue, n := range lengths {
		stats.Queues[queue] = int64(n)
	}
	unacked, err := consumer.Unacked(ctx)
	if err != nil {
		return stats, err
	}
	stats.Unacked = int64(unacked)
	stats.OldestUnacked, err = consumer.OldestUnacked(ctx)
	return stats, err
}
