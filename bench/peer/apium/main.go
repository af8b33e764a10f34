// Command apium is the Apium worker the benchmark measures: the usual command line
// with a few tasks. On SIGUSR1 it appends its allocation counters to $BENCH_MEM, and writes a
// profile of what it has allocated to $BENCH_ALLOCS.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/apium/apium/cli"
	"github.com/apium/apium/tasks"
)

func main() {
	if path := os.Getenv("BENCH_MEM"); path != "" {
		if os.Getenv("BENCH_ALLOCS") != "" {
			runtime.MemProfileRate = 512
		}
		go reportMemory(path)
	}
	if path := os.Getenv("BENCH_CPU"); path != "" {
		go profile(path)
	}
	reg := tasks.NewRegistry()
	if os.Getenv("BENCH_WITHOUT") == "" {
		register(reg)
	}
	cli.Main(reg)
}

func register(reg *tasks.Registry) {
	reg.Register("bench.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	reg.Register("bench.text", func(size int) string { return strings.Repeat("x", size) }, tasks.Params("size"))
	reg.Register("bench.echo", func(text string) string { return text }, tasks.Params("text"))
	reg.Register("bench.join", func(parts []any) int { return len(parts) }, tasks.Params("parts"))
	reg.Register("bench.now", func() int64 { return time.Now().UnixNano() })
	reg.Register("bench.nap", func() int64 {
		began := time.Now()
		time.Sleep(50 * time.Millisecond)
		return began.UnixNano()
	})
	reg.Register("bench.host", func(ctx context.Context) string { return tasks.Current(ctx).Hostname })
}

func reportMemory(path string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	for range signals {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		err := writeAllocations(os.Getenv("BENCH_ALLOCS"))
		f, openErr := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err = errors.Join(err, openErr); err == nil {
			_, err = fmt.Fprintln(f, m.Mallocs, m.TotalAlloc)
			_ = f.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

func writeAllocations(path string) error {
	if path == "" {
		return nil
	}
	runtime.GC() // what is younger is not in the profile
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return pprof.Lookup("allocs").WriteTo(f, 0)
}

// profile writes a CPU profile of the time between two SIGUSR2.
func profile(path string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	<-signals
	f, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	<-signals
	pprof.StopCPUProfile()
	_ = f.Close()
}
