package tasks_test

import (
	"context"
	"testing"

	"github.com/apium/apium/tasks"
)

func BenchmarkCall(b *testing.B) {
	benchmarks := []struct {
		name         string
		fn           any
		params       string
		args, kwargs string
	}{
		{"add", func(x, y int) int { return x + y }, "x, y", `[1000, 2000]`, `{}`},
		{"add by name", func(x, y int) int { return x + y }, "x, y", `[]`, `{"x": 1000, "y": 2000}`},
		{"add without names", func(x, y int) int { return x + y }, "", `[1000, 2000]`, `{}`},
		{"context", func(context.Context, int) error { return nil }, "x", `[1000]`, `{}`},
		{"struct", func(o order) error { return nil }, "", `[7, ["a"], "Kiel"]`, `{}`},
		{"any", func(a, b any) any { return a }, "a, b", `["text", {"k": [1, 2]}]`, `{}`},
	}
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			var opts []tasks.Option
			if bench.params != "" {
				opts = append(opts, tasks.Params(bench.params))
			}
			entry := register("shop.add", bench.fn, opts...)
			req := request(bench.args, bench.kwargs)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := entry.Call(context.Background(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
