package compat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	producer "github.com/apium/apium/app" // app is the Python one here
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/settings"
)

// TestCanvas sends every canvas with both producers to a Python worker, to ours, to
// both on one queue, and to ours with the Python app, where none or half of the tasks are in Go, and compares what they leave in Redis, and what Python reads of it,
// with what the Python worker leaves of what the Python producer has sent.
func TestCanvas(t *testing.T) {
	t.Parallel()
	cases := slices.Concat(matrix(), randomCases(20261124, 250), builtinCases())
	var left struct{ python, apium, mixed, children, both map[string]map[string]remains } // by producer, by case
	t.Run("run", func(t *testing.T) {
		for kind, into := range map[string]*map[string]map[string]remains{
			"python": &left.python, "apium": &left.apium, "mixed": &left.mixed, "children": &left.children, "both": &left.both,
		} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				*into = canvasRun{cases: cases, fromGo: fromGo(cases, kind)}.run(t, kind)
			})
		}
	})
	if t.Failed() {
		return
	}
	want := left.python["python"]
	compareCases(t, "Go producer, Python worker", fromGo(cases, "python"), want, left.python["go"], false)
	compareCases(t, "Go producer, our worker", fromGo(cases, "apium"), want, left.apium["go"], false)
	compareCases(t, "Go producer, both workers", fromGo(cases, "mixed"), want, left.mixed["go"], true)
	compareCases(t, "Python producer, our worker", cases, want, left.apium["python"], false)
	compareCases(t, "Python producer, both workers", cases, want, left.mixed["python"], true)
	compareCases(t, "Python producer, children of our worker", cases, want, left.children["python"], true)
	compareCases(t, "Python producer, children and Go handlers", cases, want, left.both["python"], true)
	t.Logf("%d cases", len(cases))
}

// fromGo are the cases that the Go producer sends to a worker: not the built-in tasks,
// which are none of a client's, and to Python's, as the messages are the same
// (TestClientMessages), only one in three. Children get none.
func fromGo(cases []canvasCase, kind string) (sent []canvasCase) {
	if kind == "children" || kind == "both" {
		return nil
	}
	for i, kase := range cases {
		if kase.Canvas.Do != "builtin" && (kind != "python" || i%3 == 0) {
			sent = append(sent, kase)
		}
	}
	return sent
}

// canvasRun is what is sent, and how those who send and run it are set up.
type canvasRun struct {
	cases, fromGo []canvasCase
	producer      string         // the environment of the Python producer; "": celery57
	worker        string         // that of the Python worker
	backend       int            // the database of the result backend in Redis
	place         string         // of sqlPlaces, where results are in SQL; "": they are in Redis
	settings      map[string]any // Celery's, of both workers
	rabbit        bool           // RabbitMQ is the broker; then no case wants to be delivered twice
}

// run sends all cases with both producers and then starts the workers: with one slot they
// run the tasks in the order of the queue.
func (c canvasRun) run(t *testing.T, kind string) (left map[string]map[string]remains) {
	t.Helper()
	began := time.Now()
	var run *canvasColumn
	if kind == "python" {
		run = startMeasure(func() *canvasColumn { return c.start(t, kind) }, func(run *canvasColumn) error {
			return celeryFinished(t, run.server, 0, run.workers[0])
		}).ran(t)
	} else {
		run = c.start(t, kind)
		finished(t, run.server, 0, run.workers...)
	}
	t.Logf("%s: settled in %v", kind, time.Since(began))
	for _, w := range run.workers {
		w.kill()
	}
	file := filepath.Join(t.TempDir(), "sent.json")
	writeJSON(t, file, run.sent)
	run.app.run(t, &left, "canvas_dump.py", file)
	return left
}

// canvasColumn is what was sent, by producer, and who runs it.
type canvasColumn struct {
	server  *redisServer
	app     app
	sent    map[string]map[string]json.RawMessage
	workers []*process
}

func (c canvasRun) start(t *testing.T, kind string) *canvasColumn {
	t.Helper()
	on := brokerKind(startRedis)
	if c.rabbit {
		on = startRabbit
	}
	server := on(t)
	settings := map[string]any{"include": []string{"canvas_tasks"}, "result_extended": true}
	maps.Copy(settings, c.settings)
	a := server.app()
	a.backend, a.settings = server.url(c.backend), settings
	if c.place != "" {
		results := newResultsDB(t, c.place)
		a.backend, a.ours, a.variables = results.python, results.ours, results.variables
	}
	producer, worker := a, a
	producer.venv, worker.venv = c.producer, c.worker
	run := &canvasColumn{server: server, app: a, sent: map[string]map[string]json.RawMessage{
		"python": sendFromPython(t, producer, c.cases), "go": sendFromGo(t, server, c.fromGo),
	}}
	if !c.rabbit {
		redeliver(t, server, c.cases)
	}
	switch kind {
	case "children", "both":
		run.workers = append(run.workers, startChildren(t, worker, goTasks(t, kind)))
	case "python", "mixed":
		run.workers = append(run.workers, worker.startWorker(t, "-P", "solo", "-n", "w1@host"))
	}
	if kind == "apium" || kind == "mixed" {
		delete(settings, "include")
		run.workers = append(run.workers, startWorker(t, a, append(servesMetrics, "-c", "1", "-n", "w1@host", "--config", settingsFile(t, settings))...))
	}
	return run
}

// goTasks chooses the tasks that have Go handlers beside children: none, or a random half.
func goTasks(t *testing.T, kind string) string {
	t.Helper()
	if kind == "children" {
		return "^$"
	}
	names := []string{
		"echo", "late", "ignored", "fail", "body", "giveup", "flaky", "exhaust", "replaced", "more", "spawn", "stamps", "old_errback",
		"bad_errback", "alone", "new_errback",
	}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	chosen := names[:len(names)/2]
	t.Logf("in Go: %s", strings.Join(chosen, ", "))
	return `^canvas\.(` + strings.Join(chosen, "|") + ")$"
}

// startChildren starts our worker with the Python app, and with the Go handlers whose names match.
func startChildren(t *testing.T, a app, handlers string) *process {
	t.Helper()
	flags := append([]string{"-A", "tapp", "worker", "-c", "1", "-l", "info", "-n", "w1@host", "--without-gossip", "--without-mingle", "--python", a.python()},
		servesMetrics...)
	p := start(t, "apium -A", appDir, append(a.env(t), "GO_TASKS="+handlers), workerBinary, flags...)
	p.waitLog(t, " ready.")
	return p
}

func sendFromPython(t *testing.T, a app, cases []canvasCase) (sent map[string]json.RawMessage) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cases.json")
	writeJSON(t, file, cases)
	a.run(t, &sent, "canvas_send.py", file, "python")
	return sent
}

func sendFromGo(t *testing.T, server *redisServer, cases []canvasCase) map[string]json.RawMessage {
	t.Helper()
	c := newClient(t, server)
	sent := map[string]json.RawMessage{}
	for _, kase := range cases {
		result, err := c.Send(t.Context(), kase.Canvas.build("go|"+kase.Name))
		if err != nil {
			sent[kase.Name] = json.RawMessage(fmt.Sprintf(`{"error": %q}`, err))
			continue
		}
		sent[kase.Name] = tupleOf(result)
	}
	return sent
}

// tupleOf writes a result as Python's as_tuple.
func tupleOf(r *client.AsyncResult) json.RawMessage {
	parent, members := json.RawMessage("null"), json.RawMessage("null")
	if r.Parent() != nil {
		parent = tupleOf(r.Parent())
	}
	if group := r.Group(); group != nil {
		list := []string{}
		for _, member := range group.Members {
			list = append(list, string(tupleOf(member)))
		}
		members = json.RawMessage("[" + strings.Join(list, ", ") + "]")
	}
	return json.RawMessage(fmt.Sprintf("[[%q, %s], %s]", r.ID, parent, members))
}

func newClient(t *testing.T, server *redisServer) *client.Client {
	t.Helper()
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = server.app().broker, server.url(0)
	return openApp(t, conf)
}

func openApp(t *testing.T, conf *settings.Settings) *client.Client {
	t.Helper()
	a, err := producer.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a.Client
}

// redeliver doubles the messages of the cases that want it: each is followed by another
// delivery of the same task.
func redeliver(t *testing.T, server *redisServer, cases []canvasCase) {
	t.Helper()
	twice := map[string]bool{}
	for _, kase := range cases {
		twice[kase.Name] = kase.Redeliver
	}
	messages := server.strings(t, "LRANGE", "celery", 0, -1)
	args := []any{"celery"}
	for _, raw := range slices.Backward(messages) { // the last is the oldest
		args = append(args, raw)
		task, err := envelopetest.DecodeTask([]byte(raw), protocol.Accept{})
		if err != nil {
			t.Fatal(err)
		}
		if _, tag, ok := strings.Cut(string(task.Kwargs), `"tag": "`); ok && twice[strings.Split(tag, "|")[1]] {
			args = append(args, strings.ReplaceAll(raw, task.DeliveryTag, protocol.NewID()))
		}
	}
	server.do(t, "DEL", "celery")
	server.do(t, "LPUSH", args...)
}

func writeJSON(t *testing.T, path string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
