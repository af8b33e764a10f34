package compat_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shape is the names and types of an event's fields.
func (e event) shape() string {
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(e)) {
		fields = append(fields, fmt.Sprintf("%s %T", name, e[name]))
	}
	return strings.Join(fields, ", ")
}

// eventShapes returns the distinct shapes of a worker's events by their type.
func eventShapes(list []event, hostname string) map[string][]string {
	found := map[string][]string{}
	for _, e := range list {
		if e["hostname"] == hostname && !slices.Contains(found[e.kind()], e.shape()) {
			found[e.kind()] = append(found[e.kind()], e.shape())
		}
	}
	return found
}

// has tells whether a worker has sent an event of a type, about a task if one is given.
func has(list []event, hostname, kind, task string) bool {
	return slices.ContainsFunc(list, func(e event) bool {
		return e["hostname"] == hostname && e.kind() == kind && (task == "" || e["uuid"] == task)
	})
}

// TestWorkerEvents has a Python worker and ours, on one broker, tell of themselves, and
// switches the events of tasks on and off.
func TestWorkerEvents(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), module: "features"}
	l := a.listen(t)
	nodes := map[string]*process{
		"py@host": start(t, "python worker", appDir, a.env(t), a.python(), "-m", "celery", "-A", "features", "worker", "-c", "2", "-l", "info",
			"--without-gossip", "--without-mingle", "-n", "py@host", "-Q", "py", "--heartbeat-interval", "1"),
		"go@host": startWorker(t, a, "-n", "go@host", "-Q", "go", "--heartbeat-interval", "1"),
	}
	heard := func(what, kind string, task func(node string) string) {
		t.Helper()
		for node := range nodes {
			eventually(t, patience, node+": "+what, func() bool { return has(l.events(t), node, kind, task(node)) })
		}
	}
	none := func(string) string { return "" }
	heard("is online", "worker-online", none)
	heard("lives", "worker-heartbeat", none)
	a.run(t, nil, "import features; features.app.control.heartbeat()")

	task := func(id string) func(string) string {
		return func(node string) string { return id + " of " + node }
	}
	run := func(id, before string) {
		a.run(t, nil, `import sys, features, tapp
for reply in features.app.control.broadcast(sys.argv[2], reply=True, limit=2, timeout=tapp.PATIENCE) if sys.argv[2] else []:
    print(reply)
for node in "py", "go":
    features.app.send_task("features.plain", [[[["return", 1]]]], task_id="%s of %s@host" % (sys.argv[1], node), queue=node).get(timeout=tapp.PATIENCE)
`, id, before)
	}
	run("silent", "")
	run("loud", "enable_events")
	heard("sends the task's events", "task-succeeded", task("loud"))
	run("silent again", "disable_events")
	run("loud again", "enable_events")
	heard("sends the task's events again", "task-succeeded", task("loud again"))
	for _, w := range nodes {
		w.signal(t, syscall.SIGTERM)
	}
	heard("is offline", "worker-offline", none)
	list := l.events(t)
	checkStream(t, list)
	for _, e := range list {
		if id := fmt.Sprint(e["uuid"]); strings.HasPrefix(id, "silent") {
			t.Errorf("%s of %s", e.kind(), id)
		}
	}
	if diff := cmp.Diff(eventShapes(list, "py@host"), eventShapes(list, "go@host")); diff != "" {
		t.Errorf("(-Python +Apium):\n%s", diff)
	}
	if state := l.state(t); state.Workers["py@host"] || state.Workers["go@host"] {
		t.Errorf("workers are alive: %v", state.Workers)
	}
}

// TestWorkerEventsAfterOutage: a worker whose Redis was away is online again, and what its
// tasks did meanwhile is heard.
func TestWorkerEventsAfterOutage(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), module: "features"}
	l := a.listen(t)
	w := startWorker(t, a, "-n", "go@host", "-E")
	a.run(t, nil, `import features; features.app.send_task("features.plain", [[[["block", 2], ["return", 1]]]], task_id="x")`)
	eventually(t, patience, "the task runs", func() bool { return has(l.events(t), "go@host", "task-started", "x") })
	server.signal(t, syscall.SIGSTOP)
	w.waitLog(t, "Cannot send events")
	server.signal(t, syscall.SIGCONT)
	w.waitLog(t, "Events are sent again")
	eventually(t, patience, "the task has succeeded and the worker is online", func() bool {
		list := l.events(t)
		online := 0
		for _, e := range list {
			if e.kind() == "worker-online" {
				online++
			}
		}
		return online > 1 && has(list, "go@host", "task-succeeded", "x")
	})
}

// TestTaskSent: with task_send_sent_event, producers and tasks that send others tell of it.
func TestTaskSent(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	settings := map[string]any{"task_send_sent_event": true}
	a := app{broker: server.url(0), journal: server.url(1), module: "features", settings: settings}
	config := settingsFile(t, settings)
	l := a.listen(t)
	a.startWorker(t, "-n", "py@host", "-Q", "py")
	startWorker(t, a, "-n", "go@host", "-Q", "go", "--config", config)
	send := func(node, by string, arguments ...string) {
		t.Helper()
		if by == "py" {
			a.run(t, nil, `import json, sys, features
features.app.send_task("features.plain", tuple(json.loads(sys.argv[1])), queue=sys.argv[2], task_id=sys.argv[3])`, arguments[0], node, arguments[1])
			return
		}
		p := start(t, "apium send", "", nil, apiumBinary, "send", "-b", a.broker, "--config", config, "features.plain",
			"--args", arguments[0], "--queue", node, "--task-id", arguments[1])
		if code := p.exitCode(t); code != 0 {
			t.Fatalf("apium send: exit code %d", code)
		}
	}
	for _, kind := range []string{"py", "go"} {
		send(kind, kind, fmt.Sprintf(`[[[["send", 5, {"task_id": "child of %s", "queue": "nowhere"}]]]]`, kind), "parent of "+kind)
	}
	sent := func(id string) (found event) {
		t.Helper()
		eventually(t, patience, id+" was sent", func() bool {
			list := l.events(t)
			i := slices.IndexFunc(list, func(e event) bool { return e["uuid"] == id && e.kind() == "task-sent" })
			if i >= 0 {
				found = normalised(list[i])
			}
			return i >= 0
		})
		if hostname := fmt.Sprint(found["hostname"]); !strings.HasPrefix(hostname, "gen") || !strings.Contains(hostname, "@") {
			t.Errorf("%s: hostname %s", id, hostname)
		}
		delete(found, "hostname")
		return found
	}
	for _, id := range []string{"parent of ", "child of "} {
		python, apium := fmt.Sprint(sent(id+"py")), fmt.Sprint(sent(id+"go"))
		for _, text := range []string{"of py", ":py "} {
			python = strings.ReplaceAll(python, text, strings.Replace(text, "py", "go", 1))
		}
		if python != apium {
			t.Errorf("(-Python +Apium):\n-%s\n+%s", python, apium)
		}
	}
}
