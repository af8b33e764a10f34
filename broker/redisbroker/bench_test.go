package redisbroker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
)

// BenchmarkClaimAck claims batches and acks each in one call: the broker's part
// of a task under load.
func BenchmarkClaimAck(b *testing.B) {
	for _, size := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := newServer(b)
			c := s.open(b, redisbroker.Config{Queues: broker.Named("q")})
			fill(b, s, "q", b.N*size)
			before := s.int(b, "LLEN", "q")
			callsBefore, spentBefore := scripts(b, s)
			b.ReportAllocs()
			b.ResetTimer()
			start := time.Now()
			tags := make([]string, 0, size)
			for range b.N {
				ds, err := c.Claim(context.Background(), size)
				if err != nil || len(ds) != size {
					b.Fatalf("%d deliveries, %v", len(ds), err)
				}
				tags = tags[:0]
				for _, d := range ds {
					tags = append(tags, d.Tag)
				}
				if _, err := c.Ack(context.Background(), tags...); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			n := float64(before)
			b.ReportMetric(n/time.Since(start).Seconds(), "msgs/s")
			calls, spent := scripts(b, s)
			b.ReportMetric(float64(calls-callsBefore)/n, "roundtrips/msg")
			b.ReportMetric(float64((spent-spentBefore).Microseconds())/n, "redis-µs/msg")
		})
	}
}

// fill puts n messages on a queue.
func fill(b *testing.B, s *server, queue string, n int) {
	b.Helper()
	conn := s.Dial(b, 0)
	raw := envelopetest.New(queue, "3a3b3c3d-0000-1111-2222-333344445555", 0)
	for left := n; left > 0; left -= 1000 {
		args := redis.Args{queue}
		for range min(left, 1000) {
			args = args.Add(raw)
		}
		if _, err := conn.Do("LPUSH", args...); err != nil {
			b.Fatal(err)
		}
	}
}

// scripts returns how many scripts Redis has run, and for how long.
func scripts(b *testing.B, s *server) (calls int, spent time.Duration) {
	b.Helper()
	for line := range lines(fmt.Sprintf("%s", s.Do(b, "INFO", "commandstats"))) {
		var usec int
		if _, err := fmt.Sscanf(line, "cmdstat_evalsha:calls=%d,usec=%d", &calls, &usec); err == nil {
			return calls, time.Duration(usec) * time.Microsecond
		}
	}
	return 0, 0
}

// BenchmarkPublish publishes batches: a producer's one message, and what a busy worker's
// tasks publish together.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := newServer(b)
			p := s.publisher(b)
			batch := make([]broker.Publication, size)
			for i := range batch {
				batch[i] = broker.Publication{RoutingKey: "q", Message: brokertest.Message("3a3b3c3d-0000-1111-2222-333344445555", 0)}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := p.Publish(context.Background(), batch...); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			_, spent := scripts(b, s)
			b.ReportMetric(float64(spent.Nanoseconds())/1e3/float64(b.N), "redis-µs/call")
		})
	}
}
