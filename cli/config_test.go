package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

const configFile = `
broker_url = "redis://file/1"
CELERY_RESULT_BACKEND = "redis://file/2"
worker_concurrency = 3
task_acks_late = true
task_acks_on_failure_or_timeout = false
task_acks_on_timeout = true
task_time_limit = 60
task_default_rate_limit = "5/m"
result_expires = 0
timezone = "Asia/Shanghai"
accept_content = ["json", "yaml"]
worker_max_tasks_per_child = 5
worker_send_task_events = true
broker_use_ssl = {ssl_cert_reqs = "none"}
apium_unknown_task = {"*" = "park", feeds = "forward:python"}
apium_max_redeliveries = 0
apium_metrics_addr = ":9"
apium_log_format = "json"
task_routes = {"feed.*" = {queue = "f", priority = 3}}
task_annotations = {"proj.add" = {rate_limit = "1/s", max_retries = 7}, "*" = {rate_limit = "2/s"}}
[broker_transport_options]
visibility_timeout = 7200
client_name = "file"
[[task_queues]]
name = "celery"
[[task_queues]]
name = "feeds"
exchange = "feeds"
exchange_type = "topic"
routing_key = "feed.#"
alias = "f"
`

// writeConfig returns a flag that names a settings file.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "celery.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "--config=" + path
}

func queueNames(s *asRead) (names []string) {
	for _, q := range s.Queues {
		names = append(names, q.Name)
	}
	return names
}

func TestConfigFile(t *testing.T) {
	t.Parallel()
	s := readSettings(t, "worker", writeConfig(t, configFile))
	o := s.worker.Defaults
	got := []any{
		s.Broker.String(), s.Backend.String(), s.worker.Concurrency, *o.AcksLate, *o.AcksOnFailure, *o.AcksOnTimeout, *o.TimeLimit,
		*o.RateLimit, s.Redis.Results.Expires, s.worker.Location.String(), strings.Join(s.worker.AcceptContent, " "), s.worker.Unknown.Action,
		s.worker.UnknownByQueue["feeds"], s.worker.MaxRedeliveries, s.metricsAddr, s.logFormat, s.Redis.Consumer.VisibilityTimeout,
		s.Redis.Consumer.Connection.ClientName, s.Redis.Consumer.TLS.CertReqs, len(s.warnings), queueNames(s),
	}
	want := []any{
		"redis://file:6379/1", "redis://file:6379/2", 3, true, false, true, time.Minute, "5/m", time.Duration(-1), "Asia/Shanghai", "json yaml",
		tasks.UnknownPark,
		tasks.UnknownPolicy{Action: tasks.UnknownForward, Queue: "python"},
		-1, ":9", "json", 2 * time.Hour,
		"file", "none", 1,
		[]string{"celery", "feeds"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%q", diff, s.warnings)
	}
	queues := []broker.Queue{
		{Name: "celery", Exchange: "celery", ExchangeType: "direct", RoutingKey: "celery"},
		{Name: "feeds", Exchange: "feeds", ExchangeType: "topic", RoutingKey: "feed.#", Alias: "f"},
	}
	if diff := cmp.Diff(queues, s.Queues); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
	route := canvas.Options{canvas.Opt("queue", "feeds"), canvas.Priority(3)}
	if diff := cmp.Diff(route, s.worker.Route("feed.add"), cmp.AllowUnexported(canvas.Option{})); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
	if d := s.worker.Destination("f"); d != (canvas.Destination{Queue: "feeds", Exchange: "feeds", ExchangeType: "topic", RoutingKey: "feed.#", DeliveryMode: 2}) {
		t.Errorf("destination %+v", d)
	}
	table := s.worker.Annotations[0]
	add, all := table["proj.add"], table["*"]
	if *add.RateLimit != "2/s" || *add.MaxRetries != 7 || *all.RateLimit != "2/s" || all.MaxRetries != nil {
		t.Errorf("annotations %+v", table)
	}
}

// TestConfigPrecedence: flags win over the environment, and that over the file.
// Not parallel: it changes the environment.
func TestConfigPrecedence(t *testing.T) {
	t.Setenv("CELERY_TASK_TIME_LIMIT", "70")
	t.Setenv("CELERY_RESULT_BACKEND", "redis://env/2")
	t.Setenv("CELERY_WORKER_CONCURRENCY", "5")
	t.Setenv("CELERY_TASK_ACKS_LATE", "no")
	s := readSettings(t, "worker", writeConfig(t, configFile), "-b", "redis://flag", "-c6", "-Q", "f,new", "--visibility-timeout", "90",
		"--broker-transport-options", "socket_timeout=7", "worker.prefetch_multiplier=2", "--result-expires", "5", "--acks-late")
	options := s.Redis.Consumer.Connection
	got := []any{
		s.Broker.String(), s.Backend.String(), s.worker.Concurrency, *s.worker.Defaults.TimeLimit, queueNames(s), s.Redis.Consumer.VisibilityTimeout,
		options.ClientName, options.SocketTimeout, s.worker.PrefetchMultiplier, s.Redis.Results.Expires, *s.worker.Defaults.AcksLate,
	}
	want := []any{
		"redis://flag:6379/0", "redis://env:6379/2", 6, 70 * time.Second,
		[]string{"feeds", "new"},
		90 * time.Second,
		"file", 7 * time.Second, 2, 5 * time.Second, true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	t.Setenv("APIUM_SETTINGS", strings.TrimPrefix(writeConfig(t, "task_default_queue = 'env'"), "--config="))
	if s := readSettings(t, "worker"); cmp.Diff([]string{"env"}, queueNames(s)) != "" {
		t.Errorf("APIUM_SETTINGS: queues %v", queueNames(s))
	}
}

func TestWrongConfig(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"--config celeryconfig worker", "Error: celeryconfig: no settings file: its name must end in .toml, .yaml, .yml or .json; scripts/export_settings.py"},
		{writeConfig(t, "apium_park_afte = 3\ntask_time_limit = 'x'") + " worker", "Error: 2 problems with the settings:\n  "},
		{writeConfig(t, "apium_park_afte = 3") + " send x", "celery.toml: apium_park_afte: unknown setting. Did you mean 'apium_park_after'?"},
		{writeConfig(t, "task_queues = ['a']\ntask_default_queue = 'a'\ntask_create_missing_queues = false") + " send x -Q b", "queue 'b' missing from task_queues"},
	} {
		status, stdout, stderr := call(t, strings.Fields(test.args)...)
		if status != exitFailure || stdout != "" || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: status %d, stdout %q, stderr:\n%s\nwant %s", test.args, status, stdout, stderr, test.want)
		}
	}
}

// TestUnheededSettings: what has no effect in a worker exists, and says why.
func TestUnheededSettings(t *testing.T) {
	t.Parallel()
	s := readSettings(t, "worker", "task_protocol=1", "worker_direct=true", "worker_enable_remote_control=true")
	want := []string{"command line: task_protocol has no effect: messages are published in protocol 2, which Celery reads since 4.0"}
	if last := s.Queues[len(s.Queues)-1]; last.Exchange != "C.dq2" || !strings.HasSuffix(last.Name, ".dq2") {
		t.Errorf("the worker's own queue: %+v", last)
	}
	if diff := cmp.Diff(want, s.warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s = readSettings(t, "worker", writeConfig(t, `
task_annotations = {"a.b" = {soft_time_limit = 9, time_limit = 8}, "*" = {autoretry_for = ["KeyError"]}}
task_time_limit = 5
`), "--soft-time-limit=6")
	want = []string{
		"celery.toml: task_annotations: a.b: automatic retries are set in Go, with tasks.AutoRetry",
		"celery.toml: task_annotations: a.b: soft_time_limit has no effect: it is not less than time_limit",
		"celery.toml: task_annotations: *: automatic retries are set in Go, with tasks.AutoRetry",
		"--soft-time-limit has no effect: it is not less than the time limit",
	}
	for i, warning := range s.warnings {
		s.warnings[i] = warning[strings.LastIndex(warning, "/")+1:]
	}
	if diff := cmp.Diff(want, s.warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	soft, annotated := *s.worker.Defaults.SoftTimeLimit, *s.worker.Annotations[0]["a.b"].SoftTimeLimit
	if soft != 0 || annotated != 0 {
		t.Errorf("soft limits %v and %v, want none", soft, annotated)
	}
	s = readSettings(t, "worker", "task_protocol=1", "worker_direct=true")
	for _, setting := range fromsettings.Unheeded {
		if name := setting.Name; s.conf.Changed(name) != (name == "task_protocol") {
			t.Errorf("%s is changed: %t", name, s.conf.Changed(name))
		}
	}
}

// TestWhatIsNotRead: what Celery would not notice either, is a warning each.
func TestWhatIsNotRead(t *testing.T) {
	t.Parallel()
	s := readSettings(t, "-A", "mysite", "worker", "-b", "redis://h", "--result-backend", "redis://h?foo=1",
		"--broker-transport-options", "protocol=3", "-s", "/var/run/schedule")
	want := []string{
		"--broker-transport-options: 'protocol' has no effect: there is no such option",
		"--schedule has no effect: the worker does not send periodic tasks without -B",
		"result backend redis://h:6379/0: the query parameter 'foo' has no effect: there is no such option",
	}
	if diff := cmp.Diff(want, s.warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s = readSettings(t, "-A", "mysite", "worker", writeConfig(t, "broker_url = 'redis://h'")); len(s.warnings) != 0 {
		t.Errorf("%q", s.warnings)
	}
}
