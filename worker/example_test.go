package worker_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// A worker and a producer in one process, without a server. Programs that only run tasks take
// app.NewWorker, which adds remote control, events and metrics.
func Example() {
	reg := tasks.NewRegistry()
	reg.Register("shop.tasks.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	queues, results := &membroker.Broker{}, membackend.New()
	w, err := worker.New(worker.Config{
		Registry: reg, Consumer: queues.Consumer("celery"), Publisher: queues.Publisher(), Store: results,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()

	producer, err := client.New(client.Config{Publisher: queues.Publisher(), Loader: results})
	if err != nil {
		panic(err)
	}
	fmt.Println(client.Call[int](ctx, producer, "shop.tasks.add", 2, 3))
	stop()
	fmt.Println(<-ended)
	// Output:
	// 5 <nil>
	// <nil>
}
