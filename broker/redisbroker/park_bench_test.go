package redisbroker_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
)

// BenchmarkParked parks a million messages, due one a millisecond from in an hour on,
// and claims some when they are due: what that costs, and what memory it takes.
func BenchmarkParked(b *testing.B) {
	const million = 1_000_000
	ctx := context.Background()
	for range b.N {
		s := newServer(b)
		c := s.open(b, redisbroker.Config{Queues: broker.Named("q")})
		fill(b, s, "q", million)
		redisBefore := memory(b, s)
		heapBefore := heap()
		first := time.Now().Add(time.Hour)
		start := time.Now()
		for n := 0; n < million; {
			ds, err := c.Claim(ctx, 1000)
			if err != nil {
				b.Fatal(err)
			}
			parked := make([]broker.Parked, len(ds))
			for i, d := range ds {
				parked[i] = broker.Parked{Delivery: d, Due: first.Add(time.Duration(n+i) * time.Millisecond)}
			}
			if lost, err := c.Park(ctx, parked...); len(lost) > 0 || err != nil {
				b.Fatal(lost, err)
			}
			n += len(ds)
		}
		b.ReportMetric(time.Since(start).Seconds()/million*1e6, "µs/claim+park")
		b.ReportMetric(float64(heap()-heapBefore)/1024, "heap-KiB")
		b.ReportMetric(float64(memory(b, s)-redisBefore)/million, "redis-B/msg")

		start = time.Now()
		const looks = 200
		for range looks {
			if ds, err := c.Due(ctx, first, 500); len(ds) > 0 || err != nil {
				b.Fatal(len(ds), err)
			}
		}
		b.ReportMetric(time.Since(start).Seconds()/looks*1e6, "µs/look")
		start = time.Now()
		const claimed = 50_000
		for n := 0; n < claimed; {
			ds, err := c.Due(ctx, first.Add(claimed*time.Millisecond), 500)
			if err != nil || len(ds) == 0 {
				b.Fatal(len(ds), err)
			}
			n += len(ds)
		}
		b.ReportMetric(time.Since(start).Seconds()/claimed*1e6, "µs/due")

		start = time.Now()
		if tags, err := c.TagsOf(ctx, "apium-dead"); len(tags) > 0 || err != nil {
			b.Fatal(tags, err)
		}
		b.ReportMetric(time.Since(start).Seconds()*1e3, "ms/search")
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func memory(b *testing.B, s *server) int64 {
	b.Helper()
	var n int64
	for line := range lines(fmt.Sprintf("%s", s.Do(b, "INFO", "memory"))) {
		if _, err := fmt.Sscanf(line, "used_memory:%d", &n); err == nil {
			return n
		}
	}
	return 0
}
