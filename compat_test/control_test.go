package compat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The nodes of these tests, each with a queue of its own on the same broker.
const (
	pyNode, pyQueue = "py@h", "py"
	goNode, goQueue = "go@h", "go"
)

// controlled are a Python worker and ours that hear the same requests.
type controlled struct {
	app
	server      *redisServer
	python, go_ *process
}

func startControlled(t *testing.T, args ...string) *controlled {
	t.Helper()
	return startControlledOn(t, startRedis, args...)
}

func startControlledOn(t *testing.T, on brokerKind, args ...string) *controlled {
	t.Helper()
	server := on(t)
	a := server.app()
	a.journal = server.url(9)
	park := "600"
	if server.vhost != nil {
		park = "86400" // RabbitMQ does not tell what waits in it for its time
	}
	return &controlled{
		app: a, server: server,
		python: a.startWorker(t, append([]string{"-n", pyNode, "-Q", pyQueue}, args...)...),
		go_: startWorker(t, a, append([]string{
			"-n", goNode, "-Q", goQueue, "--without-gossip", "--without-mingle", "--without-heartbeat", "--park-after", park,
		}, args...)...),
	}
}

// requests that every worker is sent, with an accepted difference in the reply, if there
// is one, as the reason.
var requests = []struct {
	method, arguments string
	accepted          string
}{
	{"ping", `{}`, ""},
	{"ping", `{"foo": 1}`, ""},
	{"nosuch", `{}`, ""},
	{"active", `{}`, ""},
	{"active", `{"safe": true}`, ""},
	{"reserved", `{}`, ""},
	{"scheduled", `{}`, ""},
	{"dump_active", `{}`, ""},
	{"dump_schedule", `{}`, ""},
	{"query_task", `{"ids": ["py-0", "py-2", "py-3", "go-0", "go-2", "go-3", "nope"]}`, ""},
	{"query_task", `{"ids": "nope"}`, ""},
	{"query_task", `{}`, ""},
	{"stats", `{}`, ""},
	{"registered", `{}`, ""},
	{"registered", `{"taskinfoitems": ["rate_limit", "max_retries", "_x", "nope", 5], "builtins": true}`, ""},
	{"registered", `{"taskinfoitems": ["name", "acks_late", "acks_on_failure_or_timeout", "ignore_result", "default_retry_delay", "serializer",
		"track_started", "send_events", "time_limit", "soft_time_limit", "reject_on_worker_lost", "store_errors_even_if_ignored", "trail"]}`, ""},
	{"active_queues", `{}`, ""},
	{"active_queues", `{"x": 1}`, ""},
	{"memsample", `{}`, "Python has no psutil here"},
	{"memdump", `{"samples": 3}`, "Python has no psutil here"},
	{"objgraph", `{"num": 1}`, ""},
	{"conf", `{}`, ""},
	{"report", `{}`, "it tells of other software"},
	{"report", `{"x": 1, "y": 2}`, ""},

	{"rate_limit", `{}`, ""},
	{"rate_limit", `{"task_name": "x"}`, ""},
	{"rate_limit", `{"task_name": "nope", "rate_limit": "1/s"}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": "5/s"}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": 5}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": 1.5}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": "5/"}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": "1_0/s"}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": "abc"}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": "5/y"}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": "/s"}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": " 5 / s"}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": "-5/s"}`, "a limit that is negative or no number is no limit"},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": "nan"}`, "a limit that is negative or no number is no limit"},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": "10/m"}`, ""},
	{"registered", `{"taskinfoitems": ["rate_limit"]}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": null}`, ""},
	{"rate_limit", `{"task_name": "tapp.add", "rate_limit": []}`, ""},
	{"time_limit", `{"task_name": "nope"}`, ""},
	{"time_limit", `{}`, ""},
	{"time_limit", `{"task_name": "tapp.add", "soft": "a", "hard": [1]}`, "what is no number is refused, not kept until a task fails of it"},
	{"time_limit", `{"task_name": "tapp.add", "soft": 1, "hard": 2}`, ""},
	{"registered", `{"taskinfoitems": ["soft_time_limit", "time_limit"]}`, ""},
	{"time_limit", `{"task_name": "tapp.add", "bogus": 1}`, ""},

	{"revoke", `{"task_id": "a"}`, ""},
	{"revoke", `{"task_id": []}`, ""},
	{"revoke", `{"task_id": null}`, ""},
	{"revoke", `{"task_id": ["it's"]}`, ""},
	{"revoke", `{"task_id": "a", "terminate": true}`, ""},
	{"revoke", `{"task_id": "a", "terminate": true, "signal": "NOSUCH"}`, ""},
	{"revoke", `{"task_id": "a", "terminate": true, "signal": "term"}`, ""},
	{"revoke", `{"task_id": "a", "terminate": true, "signal": 99}`, ""},
	{"revoke", `{"task_id": {"a": 1}}`, ""},
	{"revoke", `{"task_id": [["a"]]}`, ""},
	{"revoke", `{}`, ""},
	{"terminate", `{"task_id": "a", "signal": "KILL"}`, ""},
	{"terminate", `{"task_id": "a"}`, ""},
	{"revoked", `{}`, ""},
	{"revoke_by_stamped_headers", `{"headers": {"k": "v"}}`, ""},
	{"revoke_by_stamped_headers", `{"headers": {"k": ["v", "w"], "z": 5, "f": 1.5}}`, ""},
	{"revoke_by_stamped_headers", `{"headers": {"k": null}}`, ""},
	{"revoke_by_stamped_headers", `{"headers": ["k=v", "x=y=z"]}`, ""},
	{"revoke_by_stamped_headers", `{"headers": ["k"]}`, ""},
	{"revoke_by_stamped_headers", `{"headers": "k=v"}`, ""},
	{"revoke_by_stamped_headers", `{"headers": null}`, ""},
	{"revoke_by_stamped_headers", `{}`, ""},
	{"revoke_by_stamped_headers", `{"headers": {"k": "v"}, "terminate": true}`, ""},
	{"revoke_by_stamped_headers", `{"headers": {"k": "v"}, "signal": "NOPE"}`, ""},

	{"pool_grow", `{"n": 0}`, ""},
	{"pool_grow", `{"n": "a"}`, "the words for a wrong type are our own"},
	{"pool_restart", `{}`, ""},
	{"autoscale", `{"max": 3, "min": 1}`, ""},
	{"autoscale", `{"foo": 1}`, ""},

	{"add_consumer", `{"queue": "q1"}`, ""},
	{"add_consumer", `{"queue": "q2", "exchange": "ex", "exchange_type": "topic", "routing_key": "a.#"}`, ""},
	{"add_consumer", `{"queue": "q3", "exchange": "ex3"}`, ""},
	{"add_consumer", `{"queue": "q4", "bogus": 1}`, ""},
	{"add_consumer", `{}`, ""},
	{"cancel_consumer", `{"queue": "q4"}`, ""},
	{"cancel_consumer", `{"queue": "nope"}`, ""},
	{"cancel_consumer", `{}`, ""},

	{"enable_events", `{"foo": 1}`, ""},
	{"enable_events", `{}`, ""},
	{"enable_events", `{}`, ""},
	{"disable_events", `{}`, ""},
	{"disable_events", `{}`, ""},
	{"heartbeat", `{}`, ""},
	{"heartbeat", `{"x": 1}`, ""},
	{"hello", `{}`, ""},
	{"hello", `{"from_node": "other@h"}`, ""},
	{"hello", `{"from_node": "other@h", "revoked": {"r1": [1.5, "r1"], "r2": 3.0}}`, ""},
	{"hello", `{"from_node": "other@h", "revoked": ["r3"]}`, ""},
	{"hello", `{"from_node": "other@h", "revoked": 5}`, ""},
	{"revoked", `{}`, ""},
}

// differs says where in the replies the two workers may differ, and why.
var differs = map[string]string{
	"stats.pid":                 "two processes",
	"stats.pool.implementation": "goroutines",
	"stats.pool.processes":      "child processes there, one process with as many slots here",
	"stats.pool.writes":         "how tasks are spread over slots is a matter of chance",
	"stats.rusage":              "two processes; the names are compared",
	"stats.uptime":              "two processes",
	"stats.prefetch_count":      "what is due much later is parked here and held there",
	"stats.clock":               "see clock",
	"clock":                     "without events and gossip a clock grows with requests only",
	"time_start":                "two processes",
	"worker_pid":                "two processes",
	"eta":                       "sent one after the other",
	"conf":                      "settings of Python only: those that both have are compared",
	"conf.broker_url":           "Celery shows a mask where there is no password",
}

// TestControlReplies sends the same requests to a Python worker and to ours.
func TestControlReplies(t *testing.T) {
	t.Parallel()
	compareReplies(t, startControlled(t))
}

func compareReplies(t *testing.T, c *controlled) {
	t.Helper()
	for _, side := range [][]string{{pyNode, pyQueue}, {goNode, goQueue}} {
		var ready bool
		if c.run(t, &ready, "control.py", append([]string{"tasks"}, side...)...); !ready {
			t.Fatalf("%s has not taken its tasks", side[0])
		}
	}
	var script []any
	for _, r := range requests {
		script = append(script, []any{r.method, json.RawMessage(r.arguments)})
	}
	for i, replies := range c.replies(t, script) {
		r := requests[i]
		name := fmt.Sprintf("%s %s", r.method, r.arguments)
		python, ours := replies[pyNode], replies[goNode]
		if len(python) == 0 || len(ours) == 0 {
			t.Errorf("%s: replies %q", name, replies)
			continue
		}
		diff := cmp.Diff(comparable(t, r.method, python), comparable(t, r.method, ours))
		switch {
		case r.accepted == "" && diff != "":
			t.Errorf("%s (-Python +Go):\n%s", name, diff)
		case r.accepted != "" && diff == "":
			t.Errorf("%s is accepted to differ (%s), and does not", name, r.accepted)
		}
	}
}

// replies sends requests to the nodes that there are, and returns what each replies.
func (c *controlled) replies(t *testing.T, script []any) []map[string]json.RawMessage {
	t.Helper()
	text, err := json.Marshal(script)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"control.py", "replies", goNode}
	if c.python != nil {
		args = append(args, pyNode)
	}
	cmd := exec.Command(c.app.python(), args...)
	cmd.Dir, cmd.Env, cmd.Stdin = appDir, append(os.Environ(), c.env(t)...), bytes.NewReader(text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("control.py: %v\n%s", err, tail(stderr.String(), 3000))
	}
	var replies []map[string]json.RawMessage
	if err := json.Unmarshal(out, &replies); err != nil {
		t.Fatal(err)
	}
	return replies
}

// comparable is a reply without what may differ: the values of those places are replaced
// by their types.
func comparable(t *testing.T, method string, reply json.RawMessage) any {
	t.Helper()
	text := strings.NewReplacer(pyNode, "NODE", goNode, "NODE", `"py"`, `"QUEUE"`, `"go"`, `"QUEUE"`, `"py-`, `"id-`, `"go-`, `"id-`).Replace(string(reply))
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	switch list := value.(type) {
	case []any:
		if method == "registered" || method == "dump_tasks" {
			return onlyTwins(list)
		}
	case map[string]any:
		if method == "conf" {
			return onlyCommon(list)
		}
	}
	return soften(strings.TrimPrefix(method, "dump_"), value)
}

// onlyTwins leaves out the tasks that one of the workers may not have.
func onlyTwins(list []any) (kept []string) {
	for _, entry := range list {
		text := fmt.Sprint(entry)
		name, _, _ := strings.Cut(text, " ")
		if strings.HasPrefix(name, "celery.") || slices.Contains([]string{"tapp.add", "tapp.ignored", "tapp.nap", "tapp.nap_late"}, name) {
			kept = append(kept, text)
		}
	}
	return kept
}

func onlyCommon(conf map[string]any) map[string]any {
	list, _ := conf["include"].([]any)
	builtins := slices.Contains(list, any("celery.app.builtins"))
	deprecated, told := conf["deprecated_settings"]
	return map[string]any{
		"result_backend": conf["result_backend"], "include has built-ins": builtins,
		"deprecated_settings": deprecated, "deprecated_settings is told": told,
	}
}

// soften replaces what may differ at a place by its type.
func soften(place string, value any) any {
	last := place[strings.LastIndexByte(place, '.')+1:]
	if differs[place] != "" || differs[last] != "" {
		if object, ok := value.(map[string]any); ok && place == "stats.rusage" {
			for key := range object {
				object[key] = 0
			}
			return object
		}
		return fmt.Sprintf("%T", value)
	}
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			value[key] = soften(place+"."+key, member)
		}
	case []any:
		for i, member := range value {
			value[i] = soften(place, member)
		}
		if place == "active" { // a set, in Celery
			sortByID(value)
		}
	}
	return value
}

func sortByID(list []any) {
	id := func(v any) string { m, _ := v.(map[string]any); return fmt.Sprint(m["id"]) }
	for i := range list {
		for j := i; j > 0 && id(list[j]) < id(list[j-1]); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}
