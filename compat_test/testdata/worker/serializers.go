package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// runSerializer runs a worker that takes, writes and publishes everything in one
// serializer: one that is put together with the library, not with the command line.
func runSerializer(reg *tasks.Registry, serializer string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	url := os.Getenv("BROKER")
	consumer, err := redisbroker.Open(ctx, redisbroker.Config{URL: url, Queues: broker.Named("celery")})
	if err != nil {
		return err
	}
	publisher, err := redisbroker.OpenPublisher(ctx, redisbroker.PublisherConfig{URL: url})
	if err != nil {
		return err
	}
	store, err := redisbackend.New(redisbackend.Config{URL: url, Serializer: serializer})
	if err != nil {
		return err
	}
	w, err := worker.New(worker.Config{
		Registry: reg, Consumer: consumer, Publisher: publisher, Store: store, Concurrency: 2,
		AcceptContent: []string{serializer}, TaskSerializer: serializer, TaskCompression: os.Getenv("TASK_COMPRESSION"),
	})
	if err != nil {
		return err
	}
	fmt.Println("the worker is ready.")
	return w.Run(ctx)
}
