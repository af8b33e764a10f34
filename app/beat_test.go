package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/app"
	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out: " + what)
		}
	}
}

// TestBeatRuns: a beat in a program sends beat_schedule and the program's own entries, tells hooks, counts, and
// shows what it has done.
func TestBeatRuns(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	conf := settings.Default()
	conf.BrokerURL = s.URL(0)
	conf.BeatEnableRemoteControl = true
	conf.BeatSchedule = map[string]json.RawMessage{"a": json.RawMessage(`{"task": "t.a", "schedule": 0.2}`), "far": json.RawMessage(`{"task": "t.far", "schedule": 3600}`)}
	often, err := schedule.NewEvery(200 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	reg := tasks.NewRegistry()
	var mu sync.Mutex
	var told []string
	reg.Connect(tasks.Hooks{AfterPublish: func(_ context.Context, task *protocol.Task) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, task.Name)
	}})
	reg.Register("t.own", func() {}, tasks.Queue("own"))
	reg.Periodic(200*time.Millisecond, canvas.Sig("t.registered"))
	reg.Periodic(200*time.Millisecond, canvas.Sig("t.hidden"), tasks.PeriodicName("far")) // beat_schedule has one of this name
	b, err := app.NewBeat(t.Context(), conf, app.BeatOptions{
		Registry: reg, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Sources: []beat.Source{beat.NewStatic("program", &beat.Entry{Name: "own", Task: "t.own", Schedule: often})},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(b.Handler())
	defer server.Close()
	if err := b.Ready(); err == nil {
		t.Error("it is ready before it runs")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	eventually(t, "all tasks are sent", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(told, "t.a") && slices.Contains(told, "t.own") && slices.Contains(told, "t.registered")
	})
	mu.Lock()
	if slices.Contains(told, "t.hidden") {
		t.Error("the program's entry was sent instead of that of beat_schedule")
	}
	mu.Unlock()
	if err := b.Ready(); err != nil {
		t.Error(err)
	}
	response, err := server.Client().Get(server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(response.Body)
	response.Body.Close()
	for _, text := range []string{"apium_beat_leader 1", `apium_beat_sent_total{entry="a"}`, "apium_beat_late_seconds_count", "apium_beat_errors_total 0"} {
		if err != nil || !strings.Contains(string(page), text) {
			t.Errorf("no %s in %s, %v", text, page, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := b.Run(t.Context()); err == nil {
		t.Error("it runs twice")
	}
	listed, err := b.List(t.Context())
	if err != nil || len(listed) != 4 || listed[0].Name != "a" || listed[0].Count == 0 || listed[0].LastRun.IsZero() || listed[2].Source != "program" {
		t.Errorf("%+v, %v", listed, err)
	}
	before := s.Do(t, "LLEN", "own").(int64) //nolint:forcetypeassert // LLEN is a number
	if id, err := b.SendNow(t.Context(), "own"); err != nil || len(id) != 36 {
		t.Errorf("%q, %v", id, err)
	}
	if n := s.Do(t, "LLEN", "own"); n != before+1 {
		t.Errorf("%v messages, want %d", n, before+1)
	}
	var unknown *beat.UnknownError
	if _, err := b.SendNow(t.Context(), "none"); !errors.As(err, &unknown) || len(unknown.Known) != 4 {
		t.Errorf("an unknown entry: %v", err)
	}
}

// TestBeatCleansUp: where results are in SQL there is Celery's entry that deletes old ones, unless the settings
// have one of that name.
func TestBeatCleansUp(t *testing.T) {
	t.Parallel()
	broker := redistest.Start(t).URL(0)
	const cleanup = "celery.backend_cleanup"
	for _, c := range []struct {
		backend string
		expires time.Duration
		given   string
		want    string // how it is due; "": it is not there
	}{
		{"db+sqlite:////tmp/results.db", 24 * time.Hour, "", "<crontab: 0 4 * * * (m/h/dM/MY/d)>"},
		{"django-db", time.Hour, "", "<crontab: 0 4 * * * (m/h/dM/MY/d)>"},
		{"django_celery_results.backends:DatabaseBackend", time.Hour, "", "<crontab: 0 4 * * * (m/h/dM/MY/d)>"},
		{"django_celery_results.backends:CacheBackend", time.Hour, "", ""},
		{"db+sqlite:////tmp/results.db", 0, "", ""},
		{broker, time.Hour, "", ""},
		{"django-db", time.Hour, `{"task": "celery.backend_cleanup", "schedule": 60}`, "<freq: 1.00 minute>"},
	} {
		conf := settings.Default()
		conf.BrokerURL, conf.ResultBackend, conf.ResultExpires = broker, c.backend, c.expires
		if c.given != "" {
			conf.BeatSchedule = map[string]json.RawMessage{cleanup: json.RawMessage(c.given)}
		}
		b, err := app.NewBeat(t.Context(), conf, app.BeatOptions{})
		if err != nil {
			t.Errorf("%s: %v", c.backend, err)
			continue
		}
		listed, err := b.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, e := range listed {
			if e.Name == cleanup {
				got = e.Schedule.String()
			}
		}
		if got != c.want {
			t.Errorf("%s, %v: %s", c.backend, c.expires, got)
		}
	}
}

// TestBeatSettings: what cannot be a beat is said at once.
func TestBeatSettings(t *testing.T) {
	t.Parallel()
	for text, change := range map[string]func(*settings.Settings){
		"beat_scheduler: 'django'": func(s *settings.Settings) { s.BeatScheduler = "django" },
		"there is no 'odd'":        func(s *settings.Settings) { s.BrokerURL = "odd://x" },
	} {
		conf := settings.Default()
		change(conf)
		var wrong *app.ConfigError
		if _, err := app.NewBeat(t.Context(), conf, app.BeatOptions{}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
}
