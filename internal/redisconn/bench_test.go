package redisconn_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/internal/redistest"
)

// BenchmarkPipeline measures commands per second through one shared connection.
func BenchmarkPipeline(b *testing.B) {
	s := redistest.Start(b)
	value := strings.Repeat("x", 200)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, network := range []struct{ name, url string }{{"unix", s.SocketURL(0)}, {"tcp", s.URL(0)}} {
		for _, callers := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("%s/callers=%d", network.name, callers), func(b *testing.B) {
				p := open(b, network.url, redisconn.Options{}, redisconn.PipelineOptions{})
				concurrently(b, callers, func() error {
					_, err := p.Do(ctx, "SET", "key", value)
					return err
				})
			})
		}
	}
}

// concurrently calls do b.N times from a number of goroutines and reports calls per second.
func concurrently(b *testing.B, callers int, do func() error) {
	b.Helper()
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cmds/s")
}

// BenchmarkPlainConn is what a connection of redigo does with one caller, for comparison.
func BenchmarkPlainConn(b *testing.B) {
	s := redistest.Start(b)
	value := strings.Repeat("x", 200)
	for _, network := range []struct{ name, url string }{{"unix", s.SocketURL(0)}, {"tcp", s.URL(0)}} {
		b.Run(network.name, func(b *testing.B) {
			conn, err := parse(b, network.url, redisconn.Options{}).Dial(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			concurrently(b, 1, func() error {
				_, err := conn.Do("SET", "key", value)
				return err
			})
		})
	}
}
