package redisbackend_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/internal/redistest"
)

// BenchmarkStore stores groups as a worker settles them: the time is per record.
func BenchmarkStore(b *testing.B) {
	s := redistest.Start(b)
	for _, group := range []int{1, 16, 64, 256, 1024} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			store := open(b, s.SocketURL(0), redisbackend.Config{})
			s.Do(b, "FLUSHALL")
			b.ReportAllocs()
			document := backendtest.Record("SUCCESS", strings.Repeat("x", 36), "1").Document
			records := make([]backend.Record, group)
			for n := 0; n < b.N; {
				for i := range records {
					records[i] = backend.Record{TaskID: fmt.Sprintf("%036d", n), Document: document}
					n++
				}
				if err := store.Store(b.Context(), records...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
