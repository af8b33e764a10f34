package compat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// eventDifferences are the differences that stay, with the reason. All but the reason are
// regular expressions.
var eventDifferences = []struct{ id, field, python, apium, reason string }{
	{
		"hard limit( late)?", "events", "received started failed failed", "received started failed",
		"Celery says twice that a task is over its hard limit",
	},
	{
		"hard limit.*", ".*\\.exception", "ExceptionWithTraceback\\(\\)", "TimeLimitExceeded\\(1\\)",
		"Celery sends the wrapper of the exception instead of the exception",
	},
	{"hard limit.*", "task-failed.traceback", ".*", "", "a goroutine that is given up has no traceback of an exception"},
	{"rejected( early)?", "task-failed.traceback", ".*", "", "an outcome is no error in Go, and has no traceback"},
	{
		"unencodable", ".*", ".*EncodeError.*", ".*EncodeError.*",
		"Celery's EncodeError holds an exception, ours its text; and Go names a type with its package",
	},
}

// event is an event as Celery's receiver hands it over.
type event map[string]any

func (e event) kind() string { kind, _ := e["type"].(string); return kind }

// clusterState is what celery.events.State makes of events.
type clusterState struct {
	Tasks   map[string]map[string]any
	Workers map[string]bool
}

// listener is Celery's event receiver.
type listener struct{ *process }

func (a app) listen(t *testing.T) *listener {
	t.Helper()
	a.module = "features"
	p := start(t, "listener", appDir, a.env(t), a.python(), "events.py", "listen")
	p.waitLog(t, "listening")
	return &listener{p}
}

// events returns what has been heard so far.
func (l *listener) events(t *testing.T) (list []event) {
	t.Helper()
	text := l.log.String()
	for line := range strings.Lines(text[:strings.LastIndexByte(text, '\n')+1]) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, e)
	}
	return list
}

// state ends the listener.
func (l *listener) state(t *testing.T) (s clusterState) {
	t.Helper()
	l.signal(t, syscall.SIGTERM)
	l.exitCode(t)
	_, text, found := strings.Cut(l.log.String(), "STATE ")
	if !found {
		t.Fatal("the listener does not tell its state")
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEvents gives the same tasks to a Python worker and to ours, both with -E, and
// compares what Celery's receiver hears: every field of every event, in order.
func TestEvents(t *testing.T) {
	t.Parallel()
	var streams [2]map[string][]event
	var states [2]clusterState
	t.Run("workers", func(t *testing.T) {
		for i, name := range []string{"python", "apium"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				streams[i], states[i] = hearCases(t, name == "python")
			})
		}
	})
	if t.Failed() {
		return
	}
	used := make([]bool, len(eventDifferences))
	for _, id := range slices.Sorted(maps.Keys(union(streams[0], streams[1]))) {
		compareStreams(t, id, streams[0][id], streams[1][id], used)
	}
	for id := range union(states[0].Tasks, states[1].Tasks) {
		p, a := normalised(states[0].Tasks[id]), normalised(states[1].Tasks[id])
		for field := range p {
			compareField(t, id, "State."+field, p[field], a[field], used)
		}
	}
	for i, used := range used {
		if !used {
			t.Errorf("no event differs any more in the way accepted for %q: %s", eventDifferences[i].id, eventDifferences[i].reason)
		}
	}
}

// hearCases runs the cases on one worker and returns the events of each task.
func hearCases(t *testing.T, python bool) (map[string][]event, clusterState) {
	t.Helper()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), module: "features"}
	l := a.listen(t)
	var w *process
	if python {
		w = a.startWorker(t, "-n", "w1@host", "-E", "-c", "4")
	} else {
		w = startWorker(t, a, "-n", "w1@host", "-E", "-c", "4", "--without-heartbeat", "--metrics-addr", "127.0.0.1:0")
	}
	a.run(t, nil, "events.py", "send")
	var list []event
	eventually(t, patience, "the task to be terminated starts", func() bool {
		list = l.events(t)
		return slices.ContainsFunc(list, func(e event) bool { return e["uuid"] == "terminated" && e.kind() == "task-started" })
	})
	a.run(t, nil, "import tapp; tapp.app.control.revoke('terminated', terminate=True)")
	finished(t, server, 0, w)
	w.signal(t, syscall.SIGTERM)
	w.exitCode(t)
	a.run(t, nil, "events.py", "end")
	eventually(t, patience, "the last event is heard", func() bool {
		list = l.events(t)
		return len(list) > 0 && list[len(list)-1].kind() == "test-end"
	})
	list = slices.DeleteFunc(list, func(e event) bool { return !strings.HasPrefix(e.kind(), "task-") })
	checkStream(t, list)
	streams := map[string][]event{}
	for _, e := range list {
		id := fmt.Sprint(e["uuid"])
		streams[id] = append(streams[id], e)
	}
	return streams, l.state(t)
}

// checkStream checks what must hold for the events of any worker.
func checkStream(t *testing.T, list []event) {
	t.Helper()
	last := map[any]float64{}
	for _, e := range list {
		clock, ok := e["clock"].(float64)
		if !ok || clock <= last[e["hostname"]] && e.kind() != "task-sent" {
			t.Errorf("%s: clock %v after %v", e.kind(), e["clock"], last[e["hostname"]])
		}
		last[e["hostname"]] = clock
		if stamp, ok := e["timestamp"].(float64); !ok || time.Since(time.UnixMicro(int64(stamp*1e6))).Abs() > time.Hour {
			t.Errorf("%s: timestamp %v", e.kind(), e["timestamp"])
		}
		if pid, ok := e["pid"].(float64); !ok || pid < 2 {
			t.Errorf("%s: pid %v", e.kind(), e["pid"])
		}
	}
}

// compareStreams compares the events of one task.
func compareStreams(t *testing.T, id string, python, apium []event, used []bool) {
	t.Helper()
	kinds := func(list []event) string {
		var names []string
		for _, e := range list {
			names = append(names, strings.TrimPrefix(e.kind(), "task-"))
		}
		return strings.Join(names, " ")
	}
	if p, a := kinds(python), kinds(apium); p != a {
		compareField(t, id, "events", p, a, used)
		return
	}
	for i, p := range python {
		p, a := normalised(p), normalised(apium[i])
		for field := range union(p, a) {
			compareField(t, id, p.kind()+"."+field, valueOf(p, field), valueOf(a, field), used)
		}
	}
}

func valueOf(e event, field string) any {
	if value, ok := e[field]; ok {
		return value
	}
	return "missing"
}

// normalised leaves out what cannot be the same twice.
func normalised(e event) event {
	e = maps.Clone(e)
	for _, field := range []string{"clock", "timestamp", "local_received", "pid"} {
		if _, ok := e[field].(float64); ok {
			delete(e, field)
		}
	}
	for _, field := range []string{"eta", "expires"} {
		text, _ := e[field].(string)
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil && time.Since(at).Abs() < time.Hour {
			e[field] = "now"
		}
	}
	if runtime, ok := e["runtime"].(float64); ok && runtime >= 0 && runtime < 100 {
		delete(e, "runtime")
	}
	if text, ok := e["traceback"].(string); ok && text != "" {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		e["traceback"] = lines[len(lines)-1]
	}
	return e
}

func compareField(t *testing.T, id, field string, python, apium any, used []bool) {
	t.Helper()
	if cmp.Equal(python, apium) {
		return
	}
	p, a := fmt.Sprint(python), fmt.Sprint(apium)
	for i, d := range eventDifferences {
		if matches(d.id, id) && matches(d.field, field) && matches(d.python, p) && matches(d.apium, a) {
			used[i] = true
			return
		}
	}
	t.Errorf("%s: %s:\n  Python %s\n  Apium  %s", id, field, tail(p, 600), tail(a, 600))
}
