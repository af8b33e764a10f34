package compat_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/settings"
)

const settingsDir = "testdata/settings"

// effective is what a Python app, or our reading of its exported settings, makes of them.
type effective struct {
	Settings          map[string]any
	VisibilityTimeout any `json:"visibility_timeout"`
	Queues            [][]string
	Routes            map[string]route
	Annotated         map[string]annotated
}

type route struct {
	Exchange, RoutingKey string
	Priority             *int
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
		Priority        *int
		DeliveryMode    int `json:"delivery_mode"`
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
		{"plain", settingsDir, celery57, "json yaml toml", []string{"worker_max_tasks_per_child has no effect"}},
		{"oldstyle", settingsDir, celery57, "json yaml toml", []string{"worker_max_tasks_per_child has no effect"}},
		{"routed", settingsDir, celery57, "json yaml toml", []string{"on_failure", "Annotate", "by_function", "OldRouter"}},
		{"proj", djangoDir, celery57, "json yaml toml", nil},
		{"plain", settingsDir, celery52, "json", []string{"broker_connection_retry_on_startup was not exported", "worker_max_tasks_per_child has no effect"}},
		{"routed", settingsDir, celery52, "json", []string{"on_failure", "Annotate", "by_function", "OldRouter"}},
		{"oldstyle", settingsDir, celery44, "json", []string{"worker_max_tasks_per_child has no effect"}},
	} {
		for _, format := range strings.Fields(test.formats) {
			t.Run(test.app+" "+format+" "+test.venv, func(t *testing.T) {
				t.Parallel()
				want := pythonMeans(t, test.dir, test.venv, append([]string{test.app}, tasks...)...)
				s := exportAndLoad(t, test.dir, test.venv, test.app, format)
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

// pythonIn runs a script in a directory and returns what it prints.
func pythonIn(t *testing.T, dir, venv string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(interpreter(venv), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), app{broker: "redis://localhost:6379/3"}.env(t)...)
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

func pythonMeans(t *testing.T, dir, venv string, args ...string) effective {
	t.Helper()
	out := pythonIn(t, dir, venv, append([]string{script(t, settingsDir, "effective.py")}, args...)...)
	var e effective
	if err := json.Unmarshal(out, &e); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return e
}

func exportAndLoad(t *testing.T, dir, venv, app, format string) *settings.Settings {
	t.Helper()
	out := pythonIn(t, dir, venv, script(t, "..", "scripts", "export_settings.py"), "-A", app, "--format", format)
	path := filepath.Join(t.TempDir(), "celery."+format)
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := settings.Load(settings.Sources{File: path})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s
}

// weMean answers for our settings the questions Python answered in want.
func weMean(t *testing.T, s *settings.Settings, want effective) effective {
	t.Helper()
	got := effective{Settings: map[string]any{}, Queues: [][]string{}, Routes: map[string]route{}, Annotated: map[string]annotated{}}
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
		"worker_prefetch_multiplier": float64(s.WorkerPrefetchMultiplier), "worker_concurrency": seconds(time.Duration(s.WorkerConcurrency) * time.Second),
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
		}
	}
	slices.SortFunc(got.Queues, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	router := s.Router()
	for task := range want.Routes {
		o, err := router.Route(task, settings.Options{})
		got.Routes[task] = route{o.Exchange, o.RoutingKey, o.Priority, o.DeliveryMode, err != nil}
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
