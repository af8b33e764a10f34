package compat_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// eventDifference is one that stays, with the reason. All but the reason are regular expressions.
type eventDifference struct{ id, field, python, apium, reason string }

// eventDifferences are those of Go handlers.
var eventDifferences = []eventDifference{
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

// childEventDifferences are those of Python tasks that run in our children.
var childEventDifferences = []eventDifference{
	eventDifferences[0], eventDifferences[1],
	{"hard limit.*", "task-failed.traceback", ".*", "", "the frames of Celery's MainProcess, where the exception is made"},
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

// TestEvents gives the same tasks to a Python worker, to ours and to ours with the Python tasks, all
// with -E, and compares what Celery's receiver hears: every field of every event, in order.
func TestEvents(t *testing.T) {
	t.Parallel()
	compareEvents(t, startRedis, eventDifferences, childEventDifferences)
}

func compareEvents(t *testing.T, on brokerKind, ofGo, ofChildren []eventDifference) {
	t.Helper()
	var heard [3]hearing
	t.Run("workers", func(t *testing.T) {
		for i, name := range []string{"python", "apium", "children"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				start := func() *eventRun { return newEventRun(t, on, name) }
				if name == "python" {
					heard[i] = startMeasure(start, func(run *eventRun) error { return run.hear(t) }).ran(t).heard
					return
				}
				run := start()
				if err := run.hear(t); err != nil {
					t.Fatal(err)
				}
				heard[i] = run.heard
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Run("Go handlers", func(t *testing.T) { compareHearings(t, heard[0], heard[1], ofGo) })
	t.Run("Python tasks", func(t *testing.T) { compareHearings(t, heard[0], heard[2], ofChildren) })
}

// hearing is what was heard of a worker: the events of each task, and what Celery makes of them.
type hearing struct {
	streams map[string][]event
	state   clusterState
}

func compareHearings(t *testing.T, python, apium hearing, accepted []eventDifference) {
	t.Helper()
	c := eventComparison{accepted: accepted, used: make([]bool, len(accepted))}
	for _, id := range slices.Sorted(maps.Keys(union(python.streams, apium.streams))) {
		c.compareStreams(t, id, python.streams[id], apium.streams[id])
	}
	for id := range union(python.state.Tasks, apium.state.Tasks) {
		p, a := normalised(python.state.Tasks[id]), normalised(apium.state.Tasks[id])
		for field := range p {
			c.compareField(t, id, "State."+field, p[field], a[field])
		}
	}
	for i, used := range c.used {
		if !used {
			t.Errorf("no event differs any more in the way accepted for %q: %s", accepted[i].id, accepted[i].reason)
		}
	}
}

// eventRun is one worker that runs the cases, and who listens to it.
type eventRun struct {
	*redisServer
	app    app
	worker *process
	celery bool // the worker is Celery's own
	listen *listener
	heard  hearing
}

func newEventRun(t *testing.T, on brokerKind, kind string) *eventRun {
	t.Helper()
	server := on(t)
	a := server.app()
	a.module = "features"
	run := &eventRun{redisServer: server, app: a, celery: kind == "python", listen: a.listen(t)}
	flags := []string{"-n", "w1@host", "-E", "-c", "4"}
	switch kind {
	case "python":
		run.worker = a.startWorker(t, flags...)
	case "children":
		run.worker = a.startChildren(t, slices.Concat(servesMetrics, flags, []string{"--without-heartbeat"})...)
	default:
		run.worker = startWorker(t, a, slices.Concat(servesMetrics, flags, []string{"--without-heartbeat"})...)
	}
	return run
}

// hear runs the cases and notes what is heard. A *hangError: Celery's own worker hangs.
func (r *eventRun) hear(t *testing.T) error {
	t.Helper()
	r.app.run(t, nil, "events.py", "send")
	var list []event
	starts := comesTrue(patience, func() bool {
		list = r.listen.events(t)
		return slices.ContainsFunc(list, func(e event) bool { return e["uuid"] == "terminated" && e.kind() == "task-started" })
	})
	switch {
	case !starts && r.celery:
		return &hangError{r.worker, errors.New("it does not start the task to be terminated")}
	case !starts:
		return errors.New("the task to be terminated does not start")
	}
	r.app.run(t, nil, "import tapp; tapp.app.control.revoke('terminated', terminate=True)")
	if r.celery {
		if err := celeryDone(t, r.redisServer, r.worker); err != nil {
			return err
		}
	} else {
		finished(t, r.redisServer, 0, r.worker)
		r.worker.signal(t, syscall.SIGTERM)
		r.worker.exitCode(t)
	}
	r.app.run(t, nil, "events.py", "end")
	eventually(t, patience, "the last event is heard", func() bool {
		list = r.listen.events(t)
		return len(list) > 0 && list[len(list)-1].kind() == "test-end"
	})
	list = slices.DeleteFunc(list, func(e event) bool { return !strings.HasPrefix(e.kind(), "task-") })
	checkStream(t, list)
	streams := map[string][]event{}
	for _, e := range list {
		id := fmt.Sprint(e["uuid"])
		streams[id] = append(streams[id], e)
	}
	for _, stream := range streams {
		for i, e := range stream[1:] { // a retry is published before it is told of: it may be received in between
			if e.kind() == "task-retried" && stream[i].kind() == "task-received" {
				stream[i], stream[i+1] = e, stream[i]
			}
		}
	}
	r.heard = hearing{streams, r.listen.state(t)}
	return nil
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

// eventComparison knows which of the accepted differences were met.
type eventComparison struct {
	accepted []eventDifference
	used     []bool
}

// compareStreams compares the events of one task.
func (c *eventComparison) compareStreams(t *testing.T, id string, python, apium []event) {
	t.Helper()
	kinds := func(list []event) string {
		var names []string
		for _, e := range list {
			names = append(names, strings.TrimPrefix(e.kind(), "task-"))
		}
		return strings.Join(names, " ")
	}
	if p, a := kinds(python), kinds(apium); p != a {
		c.compareField(t, id, "events", p, a)
		return
	}
	for i, p := range python {
		p, a := normalised(p), normalised(apium[i])
		for field := range union(p, a) {
			c.compareField(t, id, p.kind()+"."+field, valueOf(p, field), valueOf(a, field))
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

func (c *eventComparison) compareField(t *testing.T, id, field string, python, apium any) {
	t.Helper()
	if cmp.Equal(python, apium) {
		return
	}
	p, a := fmt.Sprint(python), fmt.Sprint(apium)
	for i, d := range c.accepted {
		if matches(d.id, id) && matches(d.field, field) && matches(d.python, p) && matches(d.apium, a) {
			c.used[i] = true
			return
		}
	}
	t.Errorf("%s: %s:\n  Python %s\n  Apium  %s", id, field, tail(p, 600), tail(a, 600))
}
