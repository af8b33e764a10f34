package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol"
)

func plain(text, _ string) string { return text }

// What celery/bin/base.py makes of the same replies.
func TestPretty(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"ok": "pong"}`:            "OK|    pong",
		`{"error": "no"}`:           "ERROR|    no",
		`{"ok": "a", "error": "b"}`: "OK|    a",
		`{"ok": "a\nb"}`:            "OK|    a\n    b",
		`{"ok": null}`:              "OK|    None",
		`{"ok": ["a"]}`:             "OK|    * a",
		`{"ok": {"error": "x"}}`:    "OK|        x",
		`[]`:                        "OK|- empty -",
		`["a", 1, null, true, {"k": [1.5, "v"]}]`: "OK|* a\n* 1\n* None\n* True\n* {'k': [1.5, 'v']}",
		`{}`:                                "OK|{}",
		`{"b": [], "a": {"z": 1, "y": {}}}`: "OK|{\n    \"a\": {\n        \"y\": {},\n        \"z\": 1\n    },\n    \"b\": []\n}",
		`{"a": [1.0, "\u00e4"]}`:            "OK|{\n    \"a\": [\n        1.0,\n        \"\\u00e4\"\n    ]\n}",
		`null`:                              "OK|None",
		`1.5`:                               "OK|1.5",
		`"19.6MB"`:                          "OK|19.6MB",
		`false`:                             "OK|False",
	} {
		status, text := pretty([]byte(raw), plain)
		if got := status + "|" + text; got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

func TestByNode(t *testing.T) {
	t.Parallel()
	var told strings.Builder
	got := byNode([]control.Reply{
		{Node: "a", Value: json.RawMessage("1")}, {Node: "b", Value: json.RawMessage("2")}, {Node: "a", Value: json.RawMessage("3")},
	}, &told)
	want := []control.Reply{{Node: "a", Value: json.RawMessage("3")}, {Node: "b", Value: json.RawMessage("2")}}
	if diff := cmp.Diff(want, got); diff != "" || !strings.Contains(told.String(), "called a") {
		t.Errorf("told %q (-want +got):\n%s", told.String(), diff)
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{"y\n": true, "YES\n": true, "\n": false, "n\n": false, "": false, "what\ny\n": true, "what": false} {
		var out strings.Builder
		if got := confirm(strings.NewReader(in), &out, "Sure?"); got != want || !strings.HasPrefix(out.String(), "Sure? [y/N]: ") {
			t.Errorf("%q: %v, %q", in, got, out.String())
		}
	}
}

// event makes one of JSON.
func event(t *testing.T, text string) protocol.Event {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatal(err)
	}
	e := protocol.Event{}
	for name, value := range members {
		e[name] = value
	}
	return e
}

var someEvents = []string{
	`{"type": "worker-online", "hostname": "w@h", "timestamp": 1795566008.5, "freq": 2, "sw_ident": "apium", "sw_ver": "1.0"}`,
	`{"type": "worker-heartbeat", "hostname": "w@h", "timestamp": 1795566008.0, "freq": 2, "active": 1, "processed": 7, "loadavg": [1.5, 0.25, 0]}`,
	`{"type": "task-received", "hostname": "w@h", "timestamp": 1795566009.1657469, "uuid": "u1", "name": "t.add", "args": "(1, 2)", "kwargs": "{}", "eta": null, "retries": 0}`,
	`{"type": "task-started", "hostname": "w@h", "timestamp": 1795566009.2, "uuid": "u1", "pid": 5}`,
	`{"type": "task-succeeded", "hostname": "w@h", "timestamp": 1795566009.3, "uuid": "u1", "result": "3", "runtime": 0.25}`,
	`{"type": "task-failed", "hostname": "w@h", "timestamp": 1795566009.4, "uuid": "u2", "exception": "ValueError('\u001b[31m')", "traceback": "a\nb"}`,
	`{"type": "task-custom", "hostname": "w@h", "timestamp": 1795566009.5, "uuid": "u1"}`,
	`{"type": "worker-offline", "hostname": "w@h", "timestamp": 1795566010}`,
	`{"type": "odd"}`,
}

// As celery/events/dumper.py prints them, but for the control characters.
func TestDumpEvents(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	d := &eventDump{out: &out}
	for _, text := range someEvents {
		if err := d.print(event(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	want := `w@h [2026-11-25 00:20:08.500000+00:00] started: freq=2, sw_ident=apium, sw_ver=1.0
w@h [2026-11-25 00:20:08+00:00] heartbeat: active=1, freq=2, loadavg=[1.5, 0.25, 0], processed=7
w@h [2026-11-25 00:20:09.165747+00:00] task received: t.add(u1) args=(1, 2) kwargs={} eta=None, retries=0
w@h [2026-11-25 00:20:09.200000+00:00] task started: t.add(u1) args=(1, 2) kwargs={} pid=5
w@h [2026-11-25 00:20:09.300000+00:00] task succeeded: t.add(u1) args=(1, 2) kwargs={} result=3, runtime=0.25
w@h [2026-11-25 00:20:09.400000+00:00] task failed:  exception=ValueError('` + "\ufffd" + `[31m'), traceback=a
b
w@h [2026-11-25 00:20:09.500000+00:00] task custom t.add(u1) args=(1, 2) kwargs={} 
w@h [2026-11-25 00:20:10+00:00] shutdown 
 [1970-01-01 00:00:00+00:00] odd 
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDumpForgetsTasks(t *testing.T) {
	t.Parallel()
	d := &eventDump{out: &strings.Builder{}}
	for i := range dumpedTasks + 10 {
		if err := d.print(protocol.Event{"type": []byte(`"task-received"`), "uuid": []byte(`"` + strings.Repeat("x", i) + `"`)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.tasks) != dumpedTasks || len(d.order) != dumpedTasks {
		t.Errorf("%d tasks, %d ids", len(d.tasks), len(d.order))
	}
}

func TestOperatorMistakes(t *testing.T) {
	t.Parallel()
	for args, message := range map[string]string{
		"inspect":                  "Missing argument 'COMMAND'",
		"inspect bogus":            "Command bogus not recognized. Available inspect commands: active, active_queues, ",
		"inspect actve":            "Command actve not recognized. Did you mean 'active'? Available",
		"inspect shutdown":         "Command shutdown not recognized. Did you mean 'apium control shutdown'?",
		"control rate_limit a 1 b": "Command 'rate_limit' takes arguments: <task_name> <rate_limit",
		"control pool_grow many":   "Invalid value for n: 'many' is not an integer",
		"inspect ping -t soon":     "Invalid value for '--timeout': 'soon'",
		"status now":               "Got unexpected argument 'now'",
		"purge now":                "Got unexpected argument 'now'",
		"list":                     "Missing argument: one of queues, bindings",
		"list qeues":               "No such command 'qeues'. Did you mean 'queues'?",
		"list queues all":          "Got unexpected argument 'all'",
		"report now":               "Got unexpected argument 'now'",
		"events now":               "Got unexpected argument 'now'",
		"result":                   "Missing argument 'TASK_ID'",
		"result -b amqp://localhost --result-backend rpc:// a": "Results on rpc:// are messages to the process that has sent the task, and nobody else can read them: send it with 'send --wait'",
		"result a":   "There is no --result-backend to read the result from",
		"result a b": "Got unexpected argument 'b'",
	} {
		status, stdout, stderr := call(t, strings.Fields(args)...)
		if status != exitUsage || stdout != "" || !strings.Contains(stderr, "\n\nError: "+message) {
			t.Errorf("%q: status %d, stdout %q, stderr:\n%s", args, status, stdout, stderr)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, args := range []string{"status -t 0.05", "inspect ping -t 0.05", "control shutdown -d w@h -t 0.05 -j"} {
		status, stdout, stderr := call(t, append([]string{"-b", server.URL()}, strings.Fields(args)...)...)
		if status != exitUnavailable || stdout != "" || stderr != "Error: No nodes replied within time constraint\n" {
			t.Errorf("%q: status %d, %q, %q", args, status, stdout, stderr)
		}
	}
	for _, args := range []string{"status", "events", "inspect ping"} {
		status, stdout, stderr := call(t, append([]string{"-b", "redis://127.0.0.1:1"}, strings.Fields(args)...)...)
		if status != exitUnavailable || stdout != "" || !strings.Contains(stderr, "cannot connect to redis://127.0.0.1:1") {
			t.Errorf("%q without a broker: status %d, %q, %q", args, status, stdout, stderr)
		}
	}
}
