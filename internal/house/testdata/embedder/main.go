// Command embedder is a program of somebody else's that runs two workers beside its own work.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/app"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		panic(err)
	}
	os.Stdout.WriteString("all is well")
}

// embedded is a worker with what is its own.
type embedded struct {
	*app.Worker
	log      bytes.Buffer // read when the worker has ended
	observed atomic.Int64
	ended    chan error
}

func (e *embedded) Observe(event worker.Event) {
	if event.Kind == worker.Succeeded {
		e.observed.Add(1)
	}
}

func run(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	reg := tasks.NewRegistry()
	reg.Register("shop.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	reg.RegisterCommand("greet", func() string { return "hello" })

	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	var workers []*embedded
	for _, name := range []string{"a", "b"} {
		conf := settings.Default()
		conf.BrokerURL, conf.ResultBackend, conf.TaskSendSentEvent = url, url, true
		e := &embedded{ended: make(chan error, 1)}
		w, err := app.NewWorker(ctx, reg, conf, app.Options{
			Hostname: name + "@h", Queues: []string{name}, Registerer: prometheus.NewRegistry(),
			Logger: slog.New(slog.NewJSONHandler(&e.log, nil)), Observers: []worker.Observer{e},
		})
		if err != nil {
			return err
		}
		e.Worker = w
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, w.Handler()))
		workers = append(workers, e)
	}
	if status, _, err := get(server.URL + "/a/readyz"); err != nil || status != http.StatusServiceUnavailable {
		return fmt.Errorf("ready before it runs: %d, %w", status, err)
	}
	for _, e := range workers {
		go func() { e.ended <- e.Run(serving) }()
	}
	if err := use(ctx, url, server.URL, workers); err != nil {
		return err
	}
	stop()
	for _, e := range workers {
		if err := <-e.ended; err != nil {
			return err
		}
		if log := e.log.String(); !strings.Contains(log, `"msg":"`+e.Hostname()+` ready."`) {
			return fmt.Errorf("log of %s:\n%s", e.Hostname(), log)
		}
	}
	if n := len(reg.Hooks()); n != 0 {
		return fmt.Errorf("%d hooks are left in the registry", n)
	}
	return mistakes(ctx, reg)
}

// use sends each worker a task, and looks at what it shows of it.
func use(ctx context.Context, url, server string, workers []*embedded) error {
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = url, url
	shop, err := app.Open(ctx, conf)
	if err != nil {
		return err
	}
	defer shop.Close()
	for _, e := range workers {
		name, _, _ := strings.Cut(e.Hostname(), "@")
		var result *client.AsyncResult
		if result, err = shop.Send(ctx, canvas.Sig("shop.add", 2, 3), canvas.Queue(name)); err != nil {
			return err
		}
		var sum int
		if err := result.Get(ctx, &sum); err != nil || sum != 5 {
			return fmt.Errorf("sum %d, %w", sum, err)
		}
		want := `celery_task_succeeded_total{hostname="h",name="shop.add",queue_name="` + name + `"} 1`
		for text := ""; !strings.Contains(text, want) || e.observed.Load() != 1; {
			if _, text, err = get(server + "/" + name + "/metrics"); err != nil || ctx.Err() != nil {
				return fmt.Errorf("%d tasks were observed, metrics:\n%s\n%w", e.observed.Load(), text, errors.Join(err, ctx.Err()))
			}
		}
		if status, text, err := get(server + "/" + name + "/readyz"); status != http.StatusOK {
			return fmt.Errorf("not ready: %s, %w", text, err)
		}
	}
	return nil
}

// mistakes are told apart by their types.
func mistakes(ctx context.Context, reg *tasks.Registry) error {
	conf := settings.Default()
	conf.BrokerURL = "sqs://localhost"
	_, err := app.NewWorker(ctx, reg, conf, app.Options{})
	var wrong *app.ConfigError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("of a broker that is not supported: %w", err)
	}
	conf.BrokerURL, conf.BrokerConnectionRetry = "redis://127.0.0.1:1", false
	w, err := app.NewWorker(ctx, reg, conf, app.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var away *app.ConnectionError
	if err := w.Run(ctx); !errors.As(err, &away) {
		return fmt.Errorf("of a broker that is away: %w", err)
	}
	return nil
}

func get(url string) (status int, text string, err error) {
	answer, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), err
}
