package app_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// on are settings of an app that lives in a Redis.
func on(url string) *settings.Settings {
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = url, url
	return conf
}

var quiet = slog.New(slog.DiscardHandler)

// start runs a worker until the returned function is called, which waits for its end.
func start(t *testing.T, reg *tasks.Registry, conf *settings.Settings, opts app.Options) (w *app.Worker, stop func() error) {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	w, err := app.NewWorker(ctx, reg, conf, opts)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return w, func() error { cancel(); return <-ended }
}

func openApp(t *testing.T, conf *settings.Settings) *app.App {
	t.Helper()
	a, err := app.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// observer is told of tasks.
type observer chan worker.Kind

func (o observer) Observe(e worker.Event) { o <- e.Kind }

func (o observer) waitFor(t *testing.T, kind worker.Kind, times int) {
	t.Helper()
	for enough := time.After(2 * time.Minute); times > 0; {
		select {
		case got := <-o:
			if got == kind {
				times--
			}
		case <-enough:
			t.Fatalf("event %v is missing %d times", kind, times)
		}
	}
}

// A registry that served several workers is as it was before: no worker hears, sends or counts
// what belongs to another one.
func TestRegistryIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	conf := on(redistest.Start(t).URL(0))
	conf.TaskSendSentEvent, conf.WorkerSendTaskEvents = true, true
	reg := tasks.NewRegistry()
	reg.Register("proj.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	published := make(chan string, 10)
	reg.Connect(tasks.Hooks{AfterPublish: func(_ context.Context, task *protocol.Task) { published <- task.Name }})
	shop := openApp(t, conf)
	for range 3 {
		own := prometheus.NewRegistry()
		told := make(observer, 100)
		w, stop := start(t, reg, conf, app.Options{Registerer: own, Observers: []worker.Observer{told}})
		var sum int
		result, err := shop.Send(t.Context(), canvas.Chain(canvas.Sig("proj.add", 1, 2), canvas.Sig("proj.add", 3)))
		if err != nil {
			t.Fatal(err)
		}
		if err := result.Get(t.Context(), &sum); err != nil || sum != 6 {
			t.Fatalf("%d, %v", sum, err)
		}
		told.waitFor(t, worker.Succeeded, 2)
		page := httptest.NewRecorder()
		w.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if body := page.Body.String(); !strings.Contains(body, `name="proj.add",queue_name="celery"} 1`+"\n") {
			t.Errorf("the step that was published is not counted once:\n%s", body)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if families, err := own.Gather(); err != nil || len(families) != 0 {
			t.Errorf("%d families of metrics are left, %v", len(families), err)
		}
	}
	if n := len(reg.Hooks()); n != 1 {
		t.Errorf("the registry has %d hooks, want the one that was connected", n)
	}
	if n := len(published); n != 3 {
		t.Errorf("the hook was called %d times, want 3", n)
	}
}

// What is wrong is told apart by its type.
func TestErrorsOfWorkers(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	for want, set := range map[string]func(*settings.Settings, *app.Options){
		"broker: ":                   func(s *settings.Settings, _ *app.Options) { s.BrokerURL = "nonsense" },
		"task_serializer: 'jsn'":     func(s *settings.Settings, _ *app.Options) { s.TaskSerializer = "jsn" },
		"no queue is left":           func(_ *settings.Settings, o *app.Options) { o.ExcludeQueues = []string{"celery"} },
		"Autoscale must have bounds": func(_ *settings.Settings, o *app.Options) { o.Autoscale = worker.Autoscale{Max: 1, Min: 2} },
	} {
		conf, opts := settings.Default(), app.Options{}
		set(conf, &opts)
		_, err := app.NewWorker(t.Context(), reg, conf, opts)
		var wrong *app.ConfigError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a ConfigError about %q", err, want)
		}
	}
	conf := on("redis://:secret@127.0.0.1:1/0")
	conf.BrokerConnectionRetry = false
	w, err := app.NewWorker(t.Context(), reg, conf, app.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Run(t.Context())
	var away *app.ConnectionError
	if !errors.As(err, &away) || away.Role != app.RoleBroker || strings.Contains(err.Error(), "secret") {
		t.Errorf("%#v", err)
	}
}

func TestAbortBeforeRun(t *testing.T) {
	t.Parallel()
	conf := on("redis://127.0.0.1:1/0")
	w, err := app.NewWorker(t.Context(), tasks.NewRegistry(), conf, app.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if err := w.Run(t.Context()); err != nil {
		t.Errorf("aborted before it ran: %v", err)
	}
}

// A handler that does not listen is left behind by a cold shutdown, within 2 seconds.
func TestAbortWhileATaskRuns(t *testing.T) {
	t.Parallel()
	conf := on(redistest.Start(t).URL(0))
	reg := tasks.NewRegistry()
	runs, release := make(chan bool), make(chan bool)
	reg.Register("proj.stubborn", func() { runs <- true; <-release })
	defer close(release)
	w, err := app.NewWorker(t.Context(), reg, conf, app.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	if _, err := openApp(t, conf).Delay(t.Context(), "proj.stubborn"); err != nil {
		t.Fatal(err)
	}
	<-runs
	began := time.Now()
	w.AbortNow()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Whatever holds a cold shutdown up, Run returns.
func TestHardShutdown(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	ready, release := make(chan bool), make(chan bool)
	left := make(chan bool)
	reg.Connect(tasks.Hooks{
		WorkerReady:    func(string) { close(ready) },
		WorkerShutdown: func(string) { <-release; close(left) },
	})
	w, err := app.NewWorker(t.Context(), reg, on(redistest.Start(t).URL(0)), app.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	<-ready
	w.AbortNow()
	if err := <-ended; !errors.Is(err, app.ErrHardShutdown) {
		t.Errorf("error %v", err)
	}
	close(release)
	<-left
}
