package settings

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/tasks"
)

// write makes a settings file.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const tomlDoc = `
broker_url = "redis://h:1/2"
CELERY_ACKS_LATE = true
CELERY_RESULT_EXPIRES = 3600
CELERYD_CONCURRENCY = "auto"
task_soft_time_limit = "1m30s"
accept_content = ["json", "yaml"]
broker_use_ssl = {ssl_cert_reqs = 2, ssl_ca_certs = "/ca.pem"}
[broker_transport_options]
visibility_timeout = 7200
priority_steps = [0, 5]
fanout_prefix = false
[task_routes]
"z.*" = "first"
"z.a*" = {queue = "second", priority = 3}
"z.b" = "exact"
[[task_queues]]
name = "first"
[[task_queues]]
name = "second"
alias = "two"
[apium_unknown_task]
"*" = "leave"
first = "forward:python"
`

const yamlDoc = `
x-unused: &tls {ssl_cert_reqs: CERT_REQUIRED}
broker_url: [redis://h:1/2]
CELERY_ACKS_LATE: true
task_result_expires_: 1
`

const yamlGood = `
broker_url: [redis://h:1/2]
CELERY_ACKS_LATE: true
result_expires: 3600.0
worker_concurrency: null
task_soft_time_limit: 90
accept_content: [json, yaml]
broker_use_ssl: &tls
  ssl_ca_certs: /ca.pem
  <<: {ssl_cert_reqs: required, ssl_ca_certs: /other}
broker_transport_options: {visibility_timeout: 7200, priority_steps: [0, 5], fanout_prefix: false}
task_routes:
  z.*: first
  z.a*: &second {queue: second, priority: 3}
  z.b: exact
task_queues: [{name: first}, {name: second, alias: two}]
apium_unknown_task: {"*": leave, first: "forward:python"}
`

const jsonDoc = `{"BROKER_URL": "redis://h:1/2", "task_acks_late": 1, "result_expires": 3600, "task_soft_time_limit": 90.0,
"accept_content": ["json", "yaml"], "broker_use_ssl": {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"},
"broker_transport_options": {"visibility_timeout": 7200, "priority_steps": [0, 5], "fanout_prefix": false, "sep": null},
"task_routes": [[["z.*", "first"], ["z.a*", {"queue": "second", "priority": 3}], ["z.b", "exact"]]],
"task_queues": ["first", {"name": "second", "alias": "two"}], "apium_unknown_task": {"*": "leave", "first": "forward:python"}}`

// TestFormats reads the same settings out of three files.
func TestFormats(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"c.toml": tomlDoc, "c.yaml": yamlGood, "c.yml": yamlGood, "c.json": jsonDoc} {
		s, err := Load(Sources{File: write(t, name, text)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		queue := func(task string) string {
			o, err := sent(s, task, nil)
			if err != nil {
				t.Error(err)
				return ""
			}
			return o.Task.RoutingKey
		}
		got := []any{
			s.BrokerURL, s.TaskAcksLate, s.ResultExpires, s.WorkerConcurrency, s.TaskSoftTimeLimit, s.AcceptContent, s.BrokerUseSSL.CACerts,
			strings.TrimPrefix(strings.ToLower(s.BrokerUseSSL.CertReqs), "cert_"), s.BrokerTransportOptions.VisibilityTimeout,
			s.BrokerTransportOptions.PrioritySteps, *s.BrokerTransportOptions.FanoutPrefix, queue("z.x"), queue("z.abc"), queue("z.b"),
			queue("y"), len(s.TaskQueues), s.TaskQueues[1].Alias, s.UnknownTask.Queues["first"], s.UnknownTask.Default, s.Warnings,
		}
		want := []any{
			"redis://h:1/2", true, time.Hour, 0, 90 * time.Second,
			[]string{"json", "yaml"},
			"/ca.pem", "required", 2 * time.Hour,
			[]int{0, 5},
			"", "first", "first", "exact", "celery", 2, "two",
			tasks.UnknownPolicy{Action: tasks.UnknownForward, Queue: "python"},
			tasks.UnknownPolicy{Action: tasks.UnknownLeave},
			[]string(nil),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	s, err := Load(Sources{
		File:    write(t, "c.json", `{"worker_concurrency": 1, "task_track_started": true, "result_expires": 5, "broker_transport_options": {"sep": ":", "client_name": "f"}}`),
		Environ: []string{"CELERY_RESULT_EXPIRES=6", "CELERYD_CONCURRENCY=2", "CELERY_TASK_TRACK_STARTED=no", "HOME=/x", "CELERY_REDIS_PORT=tcp://10.0.0.1:6379"},
		Args:    []string{"worker.concurrency=3", "_task_acks_late=(bool)yes"},
		Options: []Option{
			{"--broker-transport-options", "broker_transport_options", "visibility_timeout=30"},
			{"--broker-transport-options", "broker_transport_options", `{"client_name": "o"}`},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := s.BrokerTransportOptions
	got := []any{
		s.WorkerConcurrency, s.TaskTrackStarted, s.ResultExpires, s.TaskAcksLate, o.Sep, o.ClientName, o.VisibilityTimeout,
		s.Origin("worker_concurrency").String(), s.Origin("result_expires").String(), s.IsSet("task_routes"), s.RedisPort,
	}
	want := []any{
		3, false, 6 * time.Second, true, ":", "o", 30 * time.Second,
		"command line: worker.concurrency", "environment: CELERY_RESULT_EXPIRES", false, 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ doc, want string }{
		{`{"task_acks_late": true, "CELERY_ACKS_LATE": false}`, "c.json: CELERY_ACKS_LATE: contradicts task_acks_late, which is the same setting"},
		{`{"task_acks_late": true, "CELERY_TASK_ACKS_LATE": true}`, ""},
		{`{"result_expires": 5, "CELERY_TASK_RESULT_EXPIRES": 5.0}`, ""},
		{`{"task_acks_late": "False"}`, "c.json: task_acks_late: must be true or false, not the text 'False', which Python takes for true whatever it says"},
		{`{"worker_prefetch_multiplier": 1.5}`, "c.json: worker_prefetch_multiplier: must be a whole number, not 1.5"},
		{`{"worker_concurrency": "many"}`, "c.json: worker_concurrency: must be a whole number, not 'many'"},
		{`{"worker_concurrency": -1}`, "c.json: worker_concurrency: -1 is negative"},
		{`{"task_time_limit": -1}`, "c.json: task_time_limit: must be a number of seconds from 0 to 3153600000, not -1"},
		{`{"task_default_rate_limit": "10/d"}`, "c.json: task_default_rate_limit: must be a rate like 10/s, 100/m or 5/h, not '10/d'"},
		{`{"timezone": "Europe/Pariss"}`, "c.json: timezone: unknown time zone 'Europe/Pariss'"},
		{`{"task_serializer": "jsn"}`, "c.json: task_serializer: 'jsn' is not one of " + strings.Join(serializers, ", ") + ". Did you mean 'json'?"},
		{`{"accept_content": ["json", "auth"]}`, "c.json: accept_content: 2: signed messages (the serializer auth) are not supported: their signature would not be checked"},
		{`{"task_protocol": 3}`, "c.json: task_protocol: there are task protocols 1 and 2, not 3"},
		{`{"broker_url": {}}`, "c.json: broker_url: must be a text, not a mapping"},
		{`{"broker_transport_options": {"visibility_timeout": 0.5}}`, "c.json: broker_transport_options: visibility_timeout: 500ms is less than a second"},
		{`{"broker_use_ssl": {"ssl_password": "x"}}`, "c.json: broker_use_ssl: ssl_password: a key with a password cannot be read here: decrypt it, with openssl pkey -in KEY -out NEW"},
		{`{"broker_transport_options": [1]}`, "c.json: broker_transport_options: must be a mapping, not a list"},
		{`{"task_queues": [{"name": "a"}, {"name": "b", "alias": "a"}]}`, "c.json: task_queues: 2: the queues 'a' and 'b' share a name"},
		{`{"task_queues": [{"name": "a", "bindings": [{}]}]}`, "c.json: task_queues: 1: bindings: 1: a binding needs an exchange"},
		{
			`{"task_queues": [{"name": "a", "bindings": [{"exchange": "x"}, {"exchange": "y", "exchange_type": "fanout"}]}]}`,
			"c.json: task_queues: 1: bindings: a queue of a fanout exchange has no other bindings",
		},
		{`{"task_queues": [{}]}`, "c.json: task_queues: 1: a queue needs a name"},
		{`{"task_routes": [[["a", "b", "c"]]]}`, "c.json: task_routes: 1: 1: must be a pair of task and route, not a list"},
		{`{"task_routes": "proj.Router"}`, "c.json: task_routes: must be a mapping of tasks to routes, or a list of pairs, not 'proj.Router'"},
		{
			`{"task_routes": [[[{"regex": "a(?=b)"}, "q"]]]}`,
			"c.json: task_routes: 1: 1: regex a(?=b): the pattern cannot be used in Go: error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
		},
		{`{"task_annotations": {"*": {"time_limit": "long"}}}`, "c.json: task_annotations: *: time_limit: must be a number of seconds, or a duration like 1h30m, not 'long'"},
		{`{"apium_unknown_task": "forward"}`, "c.json: apium_unknown_task: 'forward' is not one of fail, leave, park, forward:<queue>"},
		{`{"apium_unknown_task": {"q": "forward:q"}}`, "c.json: apium_unknown_task: q: a queue cannot forward to itself"},
		{`{"apium_share": "10%"}`, "c.json: apium_share: this must be a mapping of tasks to percentages"},
		{`{"apium_share": {"a": "most", "b": 10}}`, "c.json: apium_share: a: 'most' is no percentage from 0 to 100"},
		{`{"apium_share": {"a": null}}`, "c.json: apium_share: a: 'none' is no percentage from 0 to 100"},
		{`{"apium_shadow": ["a"]}`, "c.json: apium_shadow: this must be a mapping of tasks to percentages"},
		{`{"apium_max_redelivery": 1}`, "c.json: apium_max_redelivery: unknown setting. Did you mean 'apium_max_redeliveries'?"},
		{`{"a": 1, "a": 2}`, `c.json: not JSON: key "a" stands twice in an object, after 12 bytes`},
		{`[]`, "c.json: the settings are not a JSON object"},
		{`{`, "c.json: not JSON: unexpected EOF, after 1 bytes"},
	} {
		path := write(t, "c.json", test.doc)
		_, err := Load(Sources{File: path})
		got := ""
		if err != nil {
			got = strings.ReplaceAll(err.Error(), filepath.Dir(path)+string(filepath.Separator), "")
		}
		if got != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.doc, got, test.want)
		}
	}
}

// TestEveryProblemAtOnce: one error lists them all, whatever the source.
func TestEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Load(Sources{
		File:    write(t, "c.yaml", "apium_parkafter: 1\n"),
		Environ: []string{"CELERY_TASK_TIME_LIMIT=soon"},
		Args:    []string{"worker_concurency=3", "extra"},
		Options: []Option{{"--broker-transport-options", "broker_transport_options", "visibility_timeout=0"}},
	})
	var problems *Error
	if !errors.As(err, &problems) || len(problems.Problems) != 5 {
		t.Fatalf("%v", err)
	}
	if !strings.HasPrefix(err.Error(), "5 problems with the settings:\n  ") {
		t.Errorf("%v", err)
	}
	got := []string{}
	for _, p := range problems.Problems {
		got = append(got, p.Origin.Key+" "+p.Nearest)
	}
	slices.Sort(got)
	want := []string{" ", "--broker-transport-options ", "CELERY_TASK_TIME_LIMIT ", "apium_parkafter apium_park_after", "worker_concurency worker_concurrency"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	const unlisted = "c.json: 'visibility_timeout' (it belongs in broker_transport_options), 'task_ack_late' (did you mean 'task_acks_late'?), " +
		"'MY_OWN' have no effect: there are no such settings"
	for doc, want := range map[string]string{
		`{"visibility_timeout": 7, "task_ack_late": true, "MY_OWN": 1}`: unlisted,
		`{"CELERYD_CONCURENCY": 1}`:                                     "c.json: 'CELERYD_CONCURENCY' (did you mean 'CELERYD_CONCURRENCY'?) has no effect: there is no such setting",
		`{"task_default_priority": 10}`:                                 "c.json: task_default_priority counts as 9: priorities are 0 to 9",
		`{"broker_transport_options": {"visibilty_timeout": 3, "protocol": 3}}`: "c.json: broker_transport_options: " +
			"'visibilty_timeout' (did you mean 'visibility_timeout'?), 'protocol' have no effect: there are no such options",
		`{"result_backend_transport_options": {"visibility_timeout": 18000, "retry_policy": {"timeout": 5.0}}}`: "",
		`{"result_backend_transport_options": {"socket_read_size": 3}}`:                                         "c.json: result_backend_transport_options: 'socket_read_size' has no effect: there is no such option",
		`{"broker_use_ssl": {"ssl_ciphers": "x"}}`:                                                              "c.json: broker_use_ssl: 'ssl_ciphers' has no effect: there is no such option",
		`{"task_queues": [{"name": "a"}, {"name": "a"}]}`:                                                       "c.json: task_queues: 2 replaces what was said about the queue 'a' before",
		`{"task_queues": {"a": {"exchang": "x"}}}`:                                                              "c.json: task_queues: a: 'exchang' (did you mean 'exchange'?) has no effect: there is no such option",
		`{"task_routes": {"a.*": {"ques": "x"}}}`:                                                               "c.json: task_routes: a.*: 'ques' (did you mean 'queue'?) has no effect: there is no such option",
		`{"task_annotations": {"a": {"rate_limits": "1/s"}}}`:                                                   "c.json: task_annotations: a: 'rate_limits' (did you mean 'rate_limit'?) has no effect: there is no such option",
		`{"task_create_missing_queues": false, "task_queues": ["feeds"], "task_routes": {"a": "feed"}}`: "task_default_queue names a queue that no task can be sent to, " +
			"as task_create_missing_queues is off: queue 'celery' missing from task_queues\n" +
			"c.json: task_routes names a queue that no task can be sent to, as task_create_missing_queues is off: " +
			"queue 'feed' missing from task_queues. Did you mean 'feeds'?",
		`{"worker_max_tasks_per_child": 10}`:                                                                      "",
		`{"worker_max_tasks_per_child": null}`:                                                                    "",
		`{"CELERYD_MAX_TASKS_PER_CHILD": 0}`:                                                                      "",
		`{"task_queues": [{"name": "a", "no_ack": true}]}`:                                                        "c.json: task_queues: 1: no_ack has no effect: messages are always acknowledged, so that none is lost",
		`{"beat_schedule": {}}`:                                                                                   "",
		`{"beat_schedule": {"x": {}}, "cache_backend": "memory", "imports": ["a.b"]}`:                             "",
		`{"broker_heartbeat": 120.0}`:                                                                             "",
		`{"database_engine_options": {"pool_recycle": 3600, "pool_pre_ping": true}}`:                              "",
		`{"task_always_eager": true}`:                                                                             "c.json: task_always_eager has no effect: tasks are never run in the client",
		`{"task_annotations": {"a": {"my_own_attribute_of_tasks": 1}}}`:                                           "c.json: task_annotations: a: 'my_own_attribute_of_tasks' has no effect: there is no such option",
		`{"task_time_limit": 5, "task_soft_time_limit": 5}`:                                                       "c.json: task_soft_time_limit has no effect: it is not less than task_time_limit",
		`{"accept_content": ["json", "mine"]}`:                                                                    "c.json: accept_content: 2 has no effect for 'mine', which is no serializer of Celery's: messages of it are refused.",
		`{"_not_exported": {"task_routes": "a function"}}`:                                                        "c.json: task_routes was not exported: a function",
		`{"task_acks_on_failure_or_timeout": true, "task_acks_on_failure": false, "task_acks_on_timeout": false}`: "c.json: task_acks_on_failure_or_timeout has no effect: task_acks_on_failure and task_acks_on_timeout both say otherwise",
	} {
		path := write(t, "c.json", doc)
		s, err := Load(Sources{File: path})
		if err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		got := strings.ReplaceAll(strings.Join(s.Warnings, "\n"), filepath.Dir(path)+string(filepath.Separator), "")
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", doc, got, want)
		}
	}
	s, err := Load(Sources{Environ: []string{"CELERY_TASK_ACK_LATE=1", "CELERY_BIN=/x", "CELERYD_NODES=2", "APIUM_PORT=tcp://1", "APIUM_SETTINGS=x"}})
	if err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "CELERY_TASK_ACKS_LATE") {
		t.Errorf("%v, %v", s, err)
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"broker_url": ["redis://a", "redis://b"]}`: "redis://a;redis://b ",
		`{"BROKER_HOST": "h", "BROKER_TRANSPORT": "redis", "BROKER_PORT": 7, "BROKER_USER": "u", "BROKER_PASSWORD": "p@", "BROKER_VHOST": "2"}`: "redis://u:p%40@h:7/2 ",
		`{"BROKER_HOST": "redis://h/1"}`:                                                               "redis://h/1 ",
		`{"result_backend": "redis", "redis_host": "r", "redis_db": 3}`:                                " redis://r/3",
		`{"result_backend": "rediss", "redis_port": 7}`:                                                " redis://localhost:7/0",
		`{"result_backend": "celery.backends.redis:RedisBackend"}`:                                     " redis://localhost/0",
		`{"result_backend": "redis://", "redis_host": "r", "redis_port": 7, "redis_db": 3}`:            " redis://r:7",
		`{"result_backend": "redis://u:p@w@/2?a=b", "redis_host": "r", "redis_port": 7}`:               " redis://u:p@w@r:7/2?a=b",
		`{"result_backend": "redis://x", "redis_host": "r", "redis_port": 7}`:                          " redis://x:7",
		`{"result_backend": "redis://[::1]/1", "redis_host": "r", "redis_port": 7}`:                    " redis://[::1]:7/1",
		`{"result_backend": "redis://[::1]:8/1", "redis_host": "r", "redis_port": 7}`:                  " redis://[::1]:8/1",
		`{"result_backend": "redis+socket:///tmp/s", "redis_db": 3}`:                                   " redis+socket:///tmp/s?virtual_host=3",
		`{"result_backend": "redis+socket:///tmp/s?virtual_host=4", "redis_host": "r", "redis_db": 3}`: " redis+socket:///tmp/s?virtual_host=4",
		`{"result_backend": "sentinel://a:1", "redis_host": "r", "redis_port": 7}`:                     " sentinel://a:1",
		`{"result_backend": "disabled://"}`:                                                            " ",
	} {
		s, err := Load(Sources{File: write(t, "c.json", doc)})
		if err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		if got := s.BrokerURL + " " + s.ResultBackend; got != want {
			t.Errorf("%s: %s, want %s", doc, got, want)
		}
	}
}

func TestNoSettingsFile(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"proj.celeryconfig", "celeryconfig.py", "proj"} {
		_, err := Load(Sources{File: path})
		if err == nil || !strings.Contains(err.Error(), "scripts/export_settings.py") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Load(Sources{File: filepath.Join(t.TempDir(), "none.toml")}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

// FuzzLoad: whatever a file holds, the answer is settings or an *Error.
func FuzzLoad(f *testing.F) {
	for _, seed := range []struct{ ext, doc string }{
		{".toml", tomlDoc},
		{".yaml", yamlGood},
		{".yaml", yamlDoc},
		{".json", jsonDoc},
		{".yaml", "a: &a [*a, *a]"},
		{".yaml", "<<: 1"},
		{".json", `{"task_annotations": [{"*": {"rate_limit": 1e999, "retry_kwargs": {"max_retries": null}}}]}`},
		{".toml", "a.b.c = 1\n[[a.d]]\nx = 1979-05-27"},
	} {
		f.Add(seed.ext, []byte(seed.doc))
	}
	for name, values := range samples {
		for _, value := range values {
			f.Add(".json", []byte(`{"`+name+`": `+value+`}`))
		}
	}
	f.Fuzz(func(t *testing.T, ext string, doc []byte) {
		parse, ok := formats[ext]
		if !ok {
			return
		}
		if o, err := parse(doc); err == nil {
			l := loader{given: map[*entry]given{}}
			for _, m := range o {
				if e, ok := lookup(m.key); ok {
					l.add(l.given, e, m.value)
				}
			}
			s, err := l.settings()
			if err != nil {
				return
			}
			sameInGo(t, s)
			for _, task := range append(s.TaskAnnotations.Tasks(), "x") {
				s.TaskAnnotations.For(task)
				_, _ = sent(s, task, nil)
			}
		}
	})
}

// FuzzText: nor does what stands in the environment, or on the command line.
func FuzzText(f *testing.F) {
	f.Add("CELERY_TASK_ROUTES", `{"a.*": "b"}`)
	f.Add("broker_transport_options", "priority_steps=0,3")
	f.Fuzz(func(t *testing.T, name, value string) {
		_, err := Load(Sources{Environ: []string{name + "=" + value}, Args: []string{name + "=" + value}})
		var problems *Error
		if err != nil && !errors.As(err, &problems) {
			t.Errorf("%v", err)
		}
	})
}

// What an app in Python has, and Go does not know, is left to Python.
func TestSerializersOfPython(t *testing.T) {
	t.Parallel()
	const signed = `{"accept_content": ["auth"], "task_serializer": "auth", "result_serializer": "own", "event_serializer": "json"}`
	s, err := Load(Sources{Exported: []byte(signed), App: "mysite"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err = s.Resolve(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.AcceptContent, []string{"application/data"}) || s.TaskSerializer != "json" || s.ResultSerializer != "json" {
		t.Errorf("accept %q, task %q, result %q", s.AcceptContent, s.TaskSerializer, s.ResultSerializer)
	}
	want := []string{
		"mysite: result_serializer 'own' is known to Python only: what the worker itself writes is JSON",
	} // with auth, the worker signs, too
	if got := slices.Sorted(slices.Values(s.Warnings)); !slices.Equal(got, want) {
		t.Errorf("warnings: %q", got)
	}
}
