package redisbackend_test

import (
	"fmt"
	"strings"
	"sync"
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

// BenchmarkCount counts the parts of a chord of 10,000 as a worker settles them: the
// time is per part.
func BenchmarkCount(b *testing.B) {
	const size = 10_000
	s := redistest.Start(b)
	for _, batch := range []int{1, 16, 256, 1024} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			chords := open(b, s.SocketURL(0), redisbackend.Config{})
			s.Do(b, "FLUSHALL")
			b.ReportAllocs()
			parts := make([]backend.ChordPart, 0, batch)
			for n := 0; n < b.N; n += len(parts) {
				group := fmt.Sprintf("%036d", n/size)
				if n%size == 0 {
					if err := chords.SetSize(b.Context(), group, size); err != nil {
						b.Fatal(err)
					}
				}
				parts = parts[:0]
				for i := n; i < min(b.N, n+batch) && i/size == n/size; i++ {
					part := backendtest.Part(group, i%size)
					part.TaskID = fmt.Sprintf("%036d", i)
					parts = append(parts, part)
				}
				counts, err := chords.Count(b.Context(), parts...)
				if err != nil {
					b.Fatal(err)
				}
				last := counts[len(counts)-1]
				if complete := last.State == backend.ChordComplete; complete != ((n+len(parts))%size == 0) {
					b.Fatalf("part %d: %+v", n+len(parts), last)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "parts/s")
		})
	}
}

// BenchmarkWait has 5,000 calls of Wait at once: the time is for all of them, from
// the subscription to the answer.
func BenchmarkWait(b *testing.B) {
	const waits = 5000
	s := redistest.Start(b)
	results := open(b, s.SocketURL(0), redisbackend.Config{})
	for b.Loop() {
		s.Do(b, "FLUSHALL")
		var wg sync.WaitGroup
		records := make([]backend.Record, waits)
		for i := range records {
			records[i] = backendtest.Record("SUCCESS", fmt.Sprintf("%036d", i), "1")
			wg.Go(func() {
				if _, err := results.Wait(b.Context(), records[i].TaskID); err != nil {
					b.Error(err)
				}
			})
		}
		if err := results.Store(b.Context(), records...); err != nil {
			b.Fatal(err)
		}
		wg.Wait()
	}
	b.ReportMetric(waits*float64(b.N)/b.Elapsed().Seconds(), "waits/s")
}
