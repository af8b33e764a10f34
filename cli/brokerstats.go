package cli

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/worker"
)

var errNotConnected = errors.New("not connected to the broker yet")

// brokerStats answers a scrape's questions about the broker, from the moment the
// worker is connected to it.
type brokerStats struct {
	consumer atomic.Pointer[redisbroker.Consumer]
}

// BrokerStats implements metrics.Broker.
func (b *brokerStats) BrokerStats(ctx context.Context) (metrics.BrokerStats, error) {
	consumer := b.consumer.Load()
	if consumer == nil {
		return metrics.BrokerStats{}, errNotConnected
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
	unacked, parked, err := consumer.Unacked(ctx)
	if err != nil {
		return stats, err
	}
	stats.Unacked, stats.Parked = int64(unacked), int64(parked)
	letters, err := consumer.DeadLetters(ctx)
	if err != nil {
		return stats, err
	}
	stats.DeadLetters = int64(letters)
	stats.OldestUnacked, err = consumer.OldestUnacked(ctx)
	return stats, err
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
