package cli

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/metrics"
)

var errNotConnected = errors.New("not connected to the broker yet")

// brokerStats answers a scrape's questions about the broker, from the moment the
// worker is connected to it.
type brokerStats struct {
	consumer atomic.Pointer[redisbroker.Consumer]
	// Reconnects are counted at each scrape, which has one caller at a time.
	figures *metrics.Metrics
	counted int64
}

// BrokerStats implements metrics.Broker.
func (b *brokerStats) BrokerStats(ctx context.Context) (metrics.BrokerStats, error) {
	consumer := b.consumer.Load()
	if consumer == nil {
		return metrics.BrokerStats{}, errNotConnected
	}
	for n := consumer.Reconnects(); b.counted < n; b.counted++ {
		b.figures.Reconnected("broker")
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
