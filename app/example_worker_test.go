package app_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/app"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// A program runs a worker beside its own server, and ends both with SIGTERM.
func ExampleNewWorker() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reg := tasks.NewRegistry()
	reg.Register("shop.tasks.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))

	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = "redis://localhost:6379/0", "redis://localhost:6379/0"
	conf.WorkerConcurrency, conf.TaskAcksLate = 10, true
	w, err := app.NewWorker(ctx, reg, conf, app.Options{
		Hostname:   "shop@%h",
		Logger:     slog.Default(),
		Registerer: prometheus.DefaultRegisterer,
	})
	if err != nil {
		panic(err)
	}
	http.Handle("/", w.Handler()) // /metrics, /livez, /readyz

	defer context.AfterFunc(ctx, func() { time.AfterFunc(30*time.Second, w.Abort) })() // a warm shutdown may take so long
	err = w.Run(ctx)
	var away *app.ConnectionError
	if errors.As(err, &away) {
		slog.Error("no "+away.Role, "server", away.Server, "error", away.Err)
	}
}

// A program sends periodic tasks: those of its registry, and beat_schedule. Any number of its instances may.
func ExampleNewBeat() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reg := tasks.NewRegistry()
	reg.Periodic("*/5 * * * *", canvas.Sig("shop.tasks.poll"), tasks.Expires(time.Minute))

	conf := settings.Default()
	conf.BrokerURL = "redis://localhost:6379/0"
	b, err := app.NewBeat(ctx, conf, app.BeatOptions{Registry: reg, Schedule: "shop"})
	if err != nil {
		panic(err)
	}
	if err := b.Run(ctx); err != nil {
		slog.Error(err.Error())
	}
}
