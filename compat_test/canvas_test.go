package compat_test

import (
	"encoding/json"
	"fmt"
	"maps"
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

// TestCanvas sends every canvas with both producers to a Python worker, to ours, and to
// both on one queue, and compares what they leave in Redis, and what Python reads of it,
// with what the Python worker leaves of what the Python producer has sent.
func TestCanvas(t *testing.T) {
	t.Parallel()
	cases := slices.Concat(matrix(), randomCases(20261124, 250), builtinCases())
	var left struct{ python, apium, mixed map[string]map[string]remains } // by producer, by case
	t.Run("run", func(t *testing.T) {
		for kind, into := range map[string]*map[string]map[string]remains{
			"python": &left.python, "apium": &left.apium, "mixed": &left.mixed,
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
	t.Logf("%d cases", len(cases))
}

// fromGo are the cases that the Go producer sends to a worker: not the built-in tasks,
// which are none of a client's, and to Python's, as the messages are the same
// (TestClientMessages), only one in three.
func fromGo(cases []canvasCase, kind string) (sent []canvasCase) {
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
	backend       int            // the database of the result backend
	settings      map[string]any // Celery's, of both workers
}

// run sends all cases with both producers and then starts the workers: with one slot they
// run the tasks in the order of the queue.
func (c canvasRun) run(t *testing.T, kind string) (left map[string]map[string]remains) {
	t.Helper()
	server := startRedis(t)
	settings := map[string]any{"include": []string{"canvas_tasks"}, "result_extended": true}
	maps.Copy(settings, c.settings)
	a := app{broker: server.url(0), backend: server.url(c.backend), journal: server.url(1), settings: settings}
	producer, worker := a, a
	producer.venv, worker.venv = c.producer, c.worker
	sent := map[string]map[string]json.RawMessage{
		"python": sendFromPython(t, producer, c.cases), "go": sendFromGo(t, server, c.fromGo),
	}
	redeliver(t, server, c.cases)
	var workers []*process
	start := time.Now()
	if kind != "apium" {
		workers = append(workers, worker.startWorker(t, "-P", "solo", "-n", "w1@host"))
	}
	if kind != "python" {
		delete(settings, "include")
		workers = append(workers, startWorker(t, a, append(servesMetrics, "-c", "1", "-n", "w1@host", "--config", settingsFile(t, settings))...))
	}
	finished(t, server, 0, workers...)
	t.Logf("%s: settled in %v", kind, time.Since(start))
	for _, w := range workers {
		w.kill()
	}
	file := filepath.Join(t.TempDir(), "sent.json")
	writeJSON(t, file, sent)
	a.run(t, &left, "canvas_dump.py", file)
	return left
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
	conf.BrokerURL, conf.ResultBackend = server.url(0), server.url(0)
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
