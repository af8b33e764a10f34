// Command fleet runs many Apium workers in one process, each with all that `apium worker` has: its own connections, mingle,
// gossip, heartbeats and remote control. It prints a line when so many are ready.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/apium/apium/app"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

var (
	url     = flag.String("b", "", "URL of broker and result backend")
	count   = flag.Int("n", 1, "number of workers")
	over    = flag.Duration("over", 0, "time over which they start, evenly")
	gossip  = flag.Bool("gossip", true, "listen to other workers")
	mingle  = flag.Bool("mingle", true, "ask other workers at the start")
	beating = flag.Bool("heartbeat", true, "send heartbeats")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ready := &counter{all: *count}
	var all sync.WaitGroup
	for i := range *count {
		all.Go(func() {
			select {
			case <-time.After(*over * time.Duration(i) / time.Duration(*count)):
			case <-ctx.Done():
			}
			if err := run(ctx, i, slog.New(ready)); err != nil {
				log.Print(err)
			}
		})
	}
	all.Wait()
}

func run(ctx context.Context, i int, log *slog.Logger) error {
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend, conf.WorkerConcurrency = *url, *url, 2
	w, err := app.NewWorker(ctx, tasks.NewRegistry(), conf, app.Options{
		Hostname: fmt.Sprintf("celery@web%d", i), Logger: log,
		WithoutGossip: !*gossip, WithoutMingle: !*mingle, WithoutHeartbeat: !*beating,
	})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

// counter hears when workers are ready, and prints what is wrong.
type counter struct {
	all   int
	ready atomic.Int64
}

func (c *counter) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (c *counter) WithAttrs([]slog.Attr) slog.Handler               { return c }
func (c *counter) WithGroup(string) slog.Handler                    { return c }

func (c *counter) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.String() == "Worker ready" && c.ready.Add(1) == int64(c.all) {
			fmt.Println("all ready")
		}
		return true
	})
	if r.Level > slog.LevelInfo {
		log.Print(r.Message)
	}
	return nil
}
