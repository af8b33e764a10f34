package compat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

const settingsDir = "testdata/settings"

// effective is what a Python app, or our reading of its exported settings, makes of them.
type effective struct {
	Settings          map[string]any
	VisibilityTimeout any `json:"visibility_timeout"`
	Queues            [][]string
	Declared          map[string]any
	Routes            map[string]route
	Annotated         map[string]annotated
}

type route struct {
	Exchange, RoutingKey string
	Priority             int // None is 0 in messages
	DeliveryMode         int
	Error                bool
}

type annotated struct {
	RateLimit  any  `json:"rate_limit"`
	AcksLate   bool `json:"acks_late"`
	TimeLimit  any  `json:"time_limit"`
	MaxRetries any  `json:"max_retries"`
}

// UnmarshalJSON reads what effective.py prints.
func (r *route) UnmarshalJSON(data []byte) error {
	var python struct {
		Exchange, Error string
		RoutingKey      string `json:"routing_key"`
		Priority        int    // null leaves 0
		DeliveryMode    int    `json:"delivery_mode"`
	}
	if err := json.Unmarshal(data, &python); err != nil {
		return err
	}
	*r = route{python.Exchange, python.RoutingKey, python.Priority, python.DeliveryMode, python.Error != ""}
	return nil
}

// TestExportedSettings: scripts/export_settings.py writes the settings of Python apps
// of every kind, and read back they mean the same.
func TestExportedSettings(t *testing.T) {
	t.Parallel()
	tasks := []string{"feed.add", "feed.other", "VIDEO.cut", "image.x", "shop.buy", "web.get", "x.legacy", "old.x", "plain"}
	for _, test := range []struct {
		app, dir, venv string
		formats        string
		warnings       []string // what each of them contains
	}{
		{"plain", settingsDir, celery57, "json yaml toml", nil},
		{"oldstyle", settingsDir, celery57, "json yaml toml", nil},
		{"routed", settingsDir, celery57, "json yaml toml", []string{"on_failure", "Annotate", "by_function", "OldRouter"}},
		{"proj", djangoDir, celery57, "json yaml toml", nil},
		{"plain", settingsDir, celery52, "json", []string{
			"result_backend_transport_options.global_keyprefix was not exported", "broker_connection_retry_on_startup was not exported",
		}},
		{"routed", settingsDir, celery52, "json", []string{"on_failure", "Annotate", "by_function", "OldRouter"}},
		{"oldstyle", settingsDir, celery44, "json", nil},
	} {
		for _, format := range strings.Fields(test.formats) {
			t.Run(test.app+" "+format+" "+test.venv, func(t *testing.T) {
				t.Parallel()
				a := app{venv: test.venv, broker: "redis://localhost:6379/3"}
				want := pythonMeans(t, test.dir, a, append([]string{test.app}, tasks...)...)
				s, err := settings.Load(settings.Sources{File: export(t, test.dir, a, test.app, format)})
				if err != nil {
					t.Fatal(err)
				}
				got := weMean(t, s, want)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-Python +ours):\n%s", diff)
				}
				if len(s.Warnings) != len(test.warnings) {
					t.Fatalf("warnings: %q", s.Warnings)
				}
				for i, w := range s.Warnings {
					if !strings.Contains(w, test.warnings[i]) {
						t.Errorf("warning %q does not contain %q", w, test.warnings[i])
					}
				}
			})
		}
	}
}

// TestExportedDefaults: what the file of an app leaves out is as the app has it, whatever
// its version of Celery.
func TestExportedDefaults(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := app{venv: venv, broker: "redis://localhost:6379/0"}
			var theirs map[string]any
			a.run(t, &theirs, `import json, tapp
from celery.app import defaults
theirs = {name: tapp.app.conf[name] for name, _ in defaults.flatten(defaults.NAMESPACES)}
theirs.pop("result_backend_max_retries", None)  # infinite, which JSON has not
print(json.dumps(theirs, default=lambda d: d.total_seconds()))`)
			s, err := settings.Load(settings.Sources{File: export(t, appDir, a, "tapp", "json")})
			if err != nil {
				t.Fatal(err)
			}
			ours := s.Table(true)
			for name, want := range theirs {
				got, err := json.Marshal(ours[name])
				if err != nil {
					t.Fatal(err)
				}
				switch name {
				case "result_backend_transport_options": // holds how chords are counted, which Celery does not show
					continue
				case "timezone", "broker_url", "result_backend", "broker_connection_retry_on_startup":
					continue // the app's
				}
				if diff := cmp.Diff(want, plain(t, got)); diff != "" {
					t.Errorf("%s (-Python +ours):\n%s", name, diff)
				}
			}
		})
	}
}

func plain(t *testing.T, data []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// pythonIn runs a script in a directory and returns what it prints.
func pythonIn(t *testing.T, dir string, a app, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(a.python(), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), a.env(t)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python %v: %v\n%s", args, err, tail(stderr.String(), 3000))
	}
	return out
}

func script(t *testing.T, path ...string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func pythonMeans(t *testing.T, dir string, a app, args ...string) effective {
	t.Helper()
	out := pythonIn(t, dir, a, append([]string{script(t, settingsDir, "effective.py")}, args...)...)
	var e effective
	if err := json.Unmarshal(out, &e); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return e
}

// export writes the settings of an app into a file.
func export(t *testing.T, dir string, a app, name, format string) (path string) {
	t.Helper()
	out := pythonIn(t, dir, a, script(t, "..", "scripts", "export_settings.py"), "-A", name, "--format", format)
	path = filepath.Join(t.TempDir(), "celery."+format)
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWorkerWithExportedSettings: a Python app's own settings are all a worker needs.
func TestWorkerWithExportedSettings(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(1), backend: server.url(2), settings: map[string]any{
		"task_default_queue": "mine", "task_routes": map[string]any{"tapp.same": "other"}, "task_queues": map[string]any{"mine": map[string]any{}, "other": map[string]any{}},
		"broker_transport_options": map[string]any{"global_keyprefix": "p:"}, "result_expires": 77,
	}}
	worker := start(t, "apium worker", "", nil, workerBinary, "worker", "-l", "info", "--config", export(t, appDir, a, "tapp", "toml"))
	t.Cleanup(worker.kill)
	worker.waitLog(t, " ready.")
	var got []any
	a.run(t, &got, `import json, tapp
sum, same = tapp.add.delay(2, 3), tapp.same.delay("x")
values = [sum.get(timeout=tapp.PATIENCE), same.get(timeout=tapp.PATIENCE)]
ttl = tapp.app.backend.client.ttl(tapp.app.backend.get_key_for_task(sum.id))
print(json.dumps(values + [0 < ttl <= 77]))`)
	if diff := cmp.Diff([]any{5.0, "x", true}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWhatCeleryStartsWith: a worker starts with what Celery takes without a word, and does
// what of it means anything.
func TestWhatCeleryStartsWith(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(1), backend: "redis", settings: map[string]any{
		"redis_host": "127.0.0.1", "redis_port": server.port, "redis_db": 2, "redis_client_name": "results", "redis_backend_health_check_interval": 5,
		"task_create_missing_queues": false, "task_queues": map[string]any{"mine": map[string]any{}}, "task_routes": map[string]any{"tapp.*": "mine"},
		"broker_transport_options": map[string]any{
			"visibility_timeout": 3600, "protocol": 3, "confirm_publish": true, "connect_timeout": 5, "socket_read_size": 65536,
			"max_retries": 3, "interval_start": 0, "retry_on_timeout": true,
		},
		"result_backend_transport_options": map[string]any{
			"visibility_timeout": 18000, "retry_policy": map[string]any{"timeout": 5.0}, "health_check_interval": 10, "socket_keepalive": true,
		},
		"visibility_timeout": 3600, "beat_scheduler": "a.b:C", "cache_backend": "memory",
	}}
	python := a.startWorker(t) // Celery itself, so that the settings are ones it starts with
	python.kill()
	ours := start(t, "apium worker", "", nil, workerBinary, "worker", "-l", "info", "--config", export(t, appDir, a, "tapp", "json"))
	t.Cleanup(ours.kill)
	ours.waitLog(t, " ready.")
	var got int
	a.run(t, &got, `import json, tapp
print(json.dumps(tapp.add.delay(2, 3).get(timeout=20)))`)
	if got != 5 {
		t.Errorf("2 + 3 = %d", got)
	}
	if clients, ok := server.do(t, "CLIENT", "LIST").([]byte); !ok || !strings.Contains(string(clients), "name=results") {
		t.Errorf("no connection is named: %s", clients)
	}
	for line := range strings.SplitSeq(ours.log.String(), "\n") {
		if strings.Contains(line, "WARNING") && !strings.Contains(line, "have no effect") && !strings.Contains(line, "task_default_queue names a queue") {
			t.Errorf("warned of %s", line)
		}
	}
	if n := ours.log.count("have no effect"); n != 1 {
		t.Errorf("%d warnings of options without effect", n)
	}
}

// TestAppWithExportedSettings: a Go program that is given a Python app's settings sends to
// its workers as it does, and reads their results.
func TestAppWithExportedSettings(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(1), backend: server.url(2), settings: map[string]any{
		"task_default_queue": "mine", "task_routes": map[string]any{"tapp.fail": map[string]any{"queue": "other", "priority": 3}},
		"task_serializer": "msgpack", "task_compression": "zlib", "result_serializer": "yaml", "accept_content": []string{"msgpack", "yaml", "json"},
		"broker_transport_options":         map[string]any{"global_keyprefix": "p:"},
		"result_backend_transport_options": map[string]any{"global_keyprefix": "r"},
	}}
	a.startWorker(t, "-Q", "mine,other")
	conf, err := settings.Load(settings.Sources{File: export(t, appDir, a, "tapp", "json")})
	if err != nil {
		t.Fatal(err)
	}
	c := openApp(t, conf)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if sum, err := client.Call[int](ctx, c, "tapp.add", 2, 3); sum != 5 || err != nil {
		t.Errorf("tapp.add: %d, %v", sum, err)
	}
	var exception *protocol.Exception
	_, err = client.Call[int](ctx, c, "tapp.fail", "too", "bad")
	if !errors.As(err, &exception) || exception.Type != "ValueError" || string(exception.Message) != `["too", "bad"]` {
		t.Errorf("tapp.fail: %v", err)
	}
}

// TestChordsWithExportedSettings: chords of members that run here and in Celery 4.4, which
// counts them in a list, are completed whoever comes last. 5.7 counts in a sorted set.
func TestChordsWithExportedSettings(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{venv: venv, broker: server.url(1), backend: server.url(2)}
			ours := start(t, "apium worker", "", nil, workerBinary, "worker", "-l", "info", "-Q", "go", "--config", export(t, appDir, a, "tapp", "json"))
			t.Cleanup(ours.kill)
			a.startWorker(t)
			ours.waitLog(t, " ready.")
			var got [][]int
			a.run(t, &got, `import json, tapp
from celery import chord
bodies = []
for n in range(8):  # the last member and the body are in turns here and there
    queues = ["go", "celery", "go"] if n % 2 else ["celery", "go", "celery"]
    header = [tapp.add.s(n, i).set(queue=queue) for i, queue in enumerate(queues)]
    bodies.append(chord(header)(tapp.same.s().set(queue="go" if n < 4 else "celery")))
print(json.dumps([sorted(body.get(timeout=tapp.PATIENCE)) for body in bodies]))`)
			for n, members := range got {
				if diff := cmp.Diff([]int{n, n + 1, n + 2}, members); diff != "" {
					t.Errorf("chord %d (-want +got):\n%s", n, diff)
				}
			}
			if len(got) != 8 {
				t.Errorf("%d chords", len(got))
			}
		})
	}
}

// routed is where a task's message goes.
func routed(router *settings.Router, defaultQueue, task string) route {
	plan, err := canvas.Apply(canvas.Sig(task), nil, nil, canvas.Environment{
		NewID: protocol.NewID, Route: router.Route, Queue: router.Destination, DefaultQueue: defaultQueue,
	})
	if err != nil {
		return route{Error: true}
	}
	message, _ := plan.Steps[0].(canvas.Publish)
	return route{message.Task.Exchange, message.Task.RoutingKey, message.Task.Priority, message.Publication.DeliveryMode, false}
}

// prefetchMultiplier is Celery's default unless it is given.
func prefetchMultiplier(s *settings.Settings) float64 {
	if s.WorkerPrefetchMultiplier == nil {
		return 4
	}
	return float64(*s.WorkerPrefetchMultiplier)
}

// declared is what RabbitMQ would be told of a queue, as effective.py has it.
func declared(t *testing.T, d *broker.Declaration) any {
	t.Helper()
	table := func(arguments map[string]any) map[string]any {
		if arguments == nil {
			return map[string]any{}
		}
		return arguments
	}
	data, err := json.Marshal([]any{
		!d.Transient, d.Exclusive, d.AutoDelete, d.Skip, table(d.Arguments), table(d.BindingArguments), table(d.ConsumerArguments),
		!d.Exchange.Transient, d.Exchange.AutoDelete, d.Exchange.Skip, table(d.Exchange.Arguments),
	})
	if err != nil {
		t.Fatal(err)
	}
	return plain(t, data)
}

// weMean answers for our settings the questions Python answered in want.
func weMean(t *testing.T, s *settings.Settings, want effective) effective {
	t.Helper()
	got := effective{Settings: map[string]any{}, Queues: [][]string{}, Declared: map[string]any{}, Routes: map[string]route{}, Annotated: map[string]annotated{}}
	seconds := func(d time.Duration) any {
		if d == 0 {
			return nil
		}
		return d.Seconds()
	}
	optional := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	for name, value := range map[string]any{
		"broker_url": s.BrokerURL, "result_backend": optional(s.ResultBackend), "task_acks_late": s.TaskAcksLate,
		"task_reject_on_worker_lost": deref(s.TaskRejectOnWorkerLost), "task_time_limit": seconds(s.TaskTimeLimit),
		"task_soft_time_limit": seconds(s.TaskSoftTimeLimit), "result_expires": seconds(s.ResultExpires),
		"worker_prefetch_multiplier": prefetchMultiplier(s), "worker_concurrency": seconds(time.Duration(s.WorkerConcurrency) * time.Second),
		"task_default_rate_limit": deref(s.TaskDefaultRateLimit), "timezone": optional(s.Timezone), "task_ignore_result": s.TaskIgnoreResult,
		"task_store_errors_even_if_ignored": s.TaskStoreErrorsEvenIfIgnored, "task_track_started": s.TaskTrackStarted,
		"task_default_queue": s.TaskDefaultQueue, "worker_disable_rate_limits": s.WorkerDisableRateLimits,
		"task_serializer": s.TaskSerializer, "result_serializer": s.ResultSerializer,
	} {
		got.Settings[name] = value
	}
	accept := []any{}
	for _, name := range s.AcceptContent {
		accept = append(accept, name)
	}
	got.Settings["accept_content"] = accept
	for name, value := range want.Settings { // 1 for true, and Celery 4's 0 for none
		if n, ok := value.(float64); ok {
			switch got.Settings[name].(type) {
			case bool:
				want.Settings[name] = n == 1
			case nil:
				if n == 0 {
					want.Settings[name] = nil
				}
			}
		}
	}
	got.VisibilityTimeout = seconds(s.BrokerTransportOptions.VisibilityTimeout)
	for _, q := range s.Queues().All() {
		if !q.Broadcast {
			got.Queues = append(got.Queues, []string{q.Name, q.Exchange, q.ExchangeType, q.RoutingKey, q.Alias})
			got.Declared[q.Name] = declared(t, &q.Declaration)
		}
	}
	slices.SortFunc(got.Queues, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	router := s.Router()
	for task := range want.Routes {
		got.Routes[task] = routed(router, s.TaskDefaultQueue, task)
	}
	for task := range want.Annotated {
		a := s.TaskAnnotations.For(task)
		mine := annotated{RateLimit: deref(a.RateLimit), AcksLate: s.TaskAcksLate, TimeLimit: seconds(s.TaskTimeLimit), MaxRetries: 3.0}
		if a.AcksLate != nil {
			mine.AcksLate = *a.AcksLate
		}
		if a.TimeLimit != nil {
			mine.TimeLimit = seconds(*a.TimeLimit)
		}
		if a.MaxRetries != nil { // None, in these apps
			mine.MaxRetries = nil
		}
		got.Annotated[task] = mine
	}
	return got
}

func deref[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}
