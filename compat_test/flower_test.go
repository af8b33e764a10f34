package compat_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// flowerVenv has Flower.
const flowerVenv = ".venv-flower"

// flower is a Flower that watches the workers of an app.
type flower struct {
	*process
	t   *testing.T
	url string
}

// startFlower starts Flower as its tutorial says, for workers of the Go twins.
func (a app) startFlower(t *testing.T) *flower { return a.startFlowerOf(t, appDir, "patient:app") }

// startFlowerOf starts Flower for an app in a folder.
func (a app) startFlowerOf(t *testing.T, dir, app string) *flower {
	t.Helper()
	if _, err := os.Stat(interpreter(flowerVenv)); err != nil {
		t.Fatalf("the Python environment %s is missing: run scripts/venv", flowerVenv)
	}
	port := freePort(t)
	env := append(a.env(t), "FLOWER_UNAUTHENTICATED_API=true")
	p := start(t, "flower", dir, env, interpreter(flowerVenv), "-m", "celery", "-A", app, "flower",
		"--address=127.0.0.1", fmt.Sprintf("--port=%d", port))
	f := &flower{p, t, fmt.Sprintf("http://127.0.0.1:%d", port)}
	p.waitLog(t, "Visit me at")
	return f
}

// get reads a JSON document of Flower's API; false if there is none.
func (f *flower) get(path string, out any) bool {
	f.t.Helper()
	status, body := f.do(http.MethodGet, path, nil, "")
	if status != http.StatusOK {
		return false
	}
	if err := json.Unmarshal([]byte(body), out); err != nil {
		f.t.Fatalf("%s: %v: %s", path, err, tail(body, 500))
	}
	return true
}

func (f *flower) do(method, path string, body io.Reader, contentType string) (status int, text string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// act does what a button does, and checks what Flower says of it.
func (f *flower) act(path, want string, form ...string) {
	f.t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	_, got := f.do(http.MethodPost, path, strings.NewReader(values.Encode()), "application/x-www-form-urlencoded")
	var reply struct{ Message string }
	if json.Unmarshal([]byte(got), &reply) == nil {
		got = reply.Message
	}
	if got != want {
		f.t.Errorf("%s %v: %q, want %q", path, form, got, want)
	}
}

// flowerWorker is a worker as Flower knows it.
type flowerWorker struct {
	Stats struct {
		Pool          map[string]any
		Total         map[string]int
		Broker        map[string]any
		PrefetchCount int `json:"prefetch_count"`
		PID           int
	}
	ActiveQueues []map[string]any `json:"active_queues"`
	Registered   []string
	Conf         map[string]any
	Active       []map[string]any
	Scheduled    []map[string]any
	Reserved     []map[string]any
	Revoked      []string
}

// worker asks Flower to ask the worker.
func (f *flower) worker() (w flowerWorker) {
	f.t.Helper()
	const node = "go@host"
	all := map[string]flowerWorker{}
	if !f.get("/api/workers?refresh=1&workername="+node, &all) {
		return w
	}
	return all[node]
}

// queues are those the worker consumes from.
func (w *flowerWorker) queues() (names []string) {
	for _, q := range w.ActiveQueues {
		names = append(names, fmt.Sprint(q["name"]))
	}
	slices.Sort(names)
	return names
}

func (f *flower) online(node string) bool {
	f.t.Helper()
	status := map[string]bool{}
	return f.get("/api/workers?status=1", &status) && status[node]
}

// task waits until Flower shows a task in a state.
func (f *flower) task(id, state string) (task map[string]any) {
	f.t.Helper()
	eventually(f.t, patience, id+" is "+state, func() bool {
		task = nil
		return f.get("/api/task/info/"+id, &task) && task["state"] == state
	})
	return task
}

// watched starts a worker of ours as the tutorial has it, and Flower, and waits until it
// watches the worker's tasks.
func watched(t *testing.T) (a app, server *redisServer, w *process, f *flower) {
	t.Helper()
	server = startRedis(t)
	a, w, f = server.watched(t)
	return a, server, w, f
}

func (s *redisServer) watched(t *testing.T) (a app, w *process, f *flower) {
	t.Helper()
	a = s.app()
	f = a.startFlower(t)
	w = start(t, "apium worker", "", []string{"JOURNAL=" + a.journal}, workerBinary,
		"worker", "-b", a.broker, "--result-backend", a.backend, "-l", "info", "-c", "2", "-n", "go@host")
	w.waitLog(t, "go@host ready.")
	eventually(t, patience, "Flower sees the worker", func() bool { return f.online("go@host") })
	w.waitLog(t, "Events of group {task} enabled by remote.")
	return a, w, f
}

// sendTasks sends tasks with ids, which are what the task shows.
func (a app) sendTasks(t *testing.T) {
	t.Helper()
	a.run(t, nil, `from tapp import app
app.send_task("tapp.add", (2, 3), {"z": 1}, task_id="sum")
app.send_task("tapp.fail", ("bad", 7), task_id="failure")
app.send_task("tapp.echo", ("it's", 1.5, None), {"k": [True]}, task_id="echo")
app.send_task("tapp.work", ("long", 600), task_id="long")
app.send_task("tapp.work", ("later", 0), countdown=3600, task_id="later")
`)
}

// TestFlower holds our worker against Flower's API: what it shows, and what it does.
func TestFlower(t *testing.T) {
	t.Parallel()
	flowerWatches(t, startRedis(t))
}

func flowerWatches(t *testing.T, server *redisServer) {
	t.Helper()
	a, w, f := server.watched(t)
	a.sendTasks(t)
	f.wantTask("sum", "SUCCESS", map[string]any{
		"name": "tapp.add", "args": "(2, 3)", "kwargs": "{'z': 1}", "result": "6", "retries": 0.0, "exception": nil, "traceback": nil,
		"eta": nil, "expires": nil, "root_id": "sum", "parent_id": nil, "worker": "go@host",
	})
	f.wantTask("failure", "FAILURE", map[string]any{
		"name": "tapp.fail", "args": "('bad', 7)", "exception": "ValueError('bad', 7)", "traceback": "Traceback: tapp.fail in Go", "result": nil,
	})
	f.wantTask("echo", "SUCCESS", map[string]any{
		"args": `('it\'s', 1.5, None)`, "result": `{'args': ['it\'s', 1.5, None], 'kwargs': {'k': [True]}}`,
	})
	f.task("long", "STARTED")
	f.task("later", "RECEIVED")
	all := map[string]map[string]any{}
	if f.get("/api/tasks", &all); len(all) != 5 || all["sum"]["worker"] != "go@host" {
		t.Errorf("tasks: %v", all)
	}
	if server.vhost == nil { // of RabbitMQ, Flower asks the management plugin
		f.checkLengths()
	}
	var result map[string]any
	if f.get("/api/task/result/sum", &result); result["state"] != "SUCCESS" || result["result"] != 6.0 {
		t.Errorf("result: %v", result)
	}
	f.checkWorker(w, server)
	f.checkTaskActions()
	f.checkPoolActions()
	f.act("/api/worker/shutdown/go@host", "Shutting down!")
	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	eventually(t, patience, "Flower sees that the worker is gone", func() bool { return !f.online("go@host") })
	if f.log.contains("Traceback") {
		t.Errorf("Flower failed:\n%s", tail(f.log.String(), 3000))
	}
}

func (f *flower) checkLengths() {
	f.t.Helper()
	var lengths struct {
		ActiveQueues []struct {
			Name     string
			Messages int
		} `json:"active_queues"`
	}
	if f.get("/api/queues/length", &lengths); len(lengths.ActiveQueues) != 1 || lengths.ActiveQueues[0].Name != "celery" {
		f.t.Errorf("queues: %+v", lengths)
	}
}

// wantTask waits for a task and compares some of its fields.
func (f *flower) wantTask(id, state string, want map[string]any) {
	f.t.Helper()
	task := f.task(id, state)
	for _, field := range slices.Sorted(maps.Keys(want)) {
		if task[field] != want[field] {
			f.t.Errorf("task %s: %s is %v, want %v", id, field, task[field], want[field])
		}
	}
	for _, field := range []string{"received", "started", "timestamp", map[string]string{"SUCCESS": "succeeded", "FAILURE": "failed"}[state]} {
		if at, ok := task[field].(float64); !ok || time.Since(time.UnixMicro(int64(at*1e6))).Abs() > time.Hour {
			f.t.Errorf("task %s: %s is %v", id, field, task[field])
		}
	}
	if runtime, ok := task["runtime"].(float64); state == "SUCCESS" && (!ok || runtime < 0 || runtime > 60) {
		f.t.Errorf("task %s: runtime is %v", id, task["runtime"])
	}
}

// checkWorker checks what the pages about the worker are made of.
func (f *flower) checkWorker(p *process, server *redisServer) {
	f.t.Helper()
	w := f.worker()
	transport, port := "redis", float64(server.port)
	if server.vhost != nil {
		transport, port = "amqp", float64(server.vhost.Server().Port())
	}
	if w.Stats.PID != p.cmd.Process.Pid || w.Stats.Pool["max-concurrency"] != 2.0 || w.Stats.Total["tapp.add"] != 1 || w.Stats.PrefetchCount == 0 ||
		w.Stats.Broker["port"] != port || w.Stats.Broker["transport"] != transport {
		f.t.Errorf("stats: %+v", w.Stats)
	}
	if !slices.Equal(w.queues(), []string{"celery"}) || !slices.Contains(w.Registered, "tapp.add") || w.Conf["broker_url"] == nil {
		f.t.Errorf("queues %v, registered %v, conf %v", w.queues(), w.Registered, w.Conf)
	}
	if len(w.Active) != 1 || w.Active[0]["id"] != "long" || w.Active[0]["worker_pid"] != float64(w.Stats.PID) || w.Active[0]["args"] != "('long', 600)" {
		f.t.Errorf("active: %v", w.Active)
	}
	if len(w.Reserved) != 0 || len(w.Revoked) != 0 {
		f.t.Errorf("reserved %v, revoked %v", w.Reserved, w.Revoked)
	}
}

func (f *flower) checkTaskActions() {
	f.t.Helper()
	f.act("/api/task/rate-limit/tapp.add", "new rate limit set successfully", "workername", "go@host", "ratelimit", "5/s")
	f.act("/api/task/rate-limit/tapp.add", "Failed to set rate limit: 'Invalid rate limit string: "+
		`ValueError("could not convert string to float: 'abc'")'`, "workername", "go@host", "ratelimit", "abc")
	f.act("/api/task/timeout/tapp.add", "time limits set successfully", "workername", "go@host", "soft", "5", "hard", "10.5")
	f.act("/api/task/revoke/long", "Revoked 'long'", "terminate", "true")
	f.task("long", "REVOKED")
	f.act("/api/task/revoke/later", "Revoked 'later'")
	eventually(f.t, patience, "the revoked tasks are known", func() bool {
		w := f.worker()
		return slices.Contains(w.Revoked, "later") && slices.Contains(w.Revoked, "long") && len(w.Active) == 0
	})
	_, sent := f.do(http.MethodPost, "/api/task/async-apply/tapp.add", strings.NewReader(`{"args": [20, 22]}`), "application/json")
	var task map[string]any
	if err := json.Unmarshal([]byte(sent), &task); err != nil {
		f.t.Fatalf("%v: %s", err, sent)
	}
	f.wantTask(fmt.Sprint(task["task-id"]), "SUCCESS", map[string]any{"result": "42"})
}

func (f *flower) checkPoolActions() {
	f.t.Helper()
	size := func(want float64) {
		f.t.Helper()
		eventually(f.t, patience, fmt.Sprintf("the pool has %v slots", want), func() bool {
			w := f.worker()
			return w.Stats.Pool["max-concurrency"] == want
		})
	}
	f.act("/api/worker/pool/grow/go@host", "Growing 'go@host' worker's pool by 3", "n", "3")
	size(5)
	f.act("/api/worker/pool/shrink/go@host", "Shrinking 'go@host' worker's pool by 1", "n", "1")
	size(4)
	f.act("/api/worker/pool/autoscale/go@host", "Failed to autoscale 'go@host' worker: ValueError('Autoscale not enabled')", "min", "1", "max", "2")
	f.act("/api/worker/pool/restart/go@host", "Failed to restart the 'go@host' pool: ValueError('Pool restarts not enabled')")
	queues := func(want ...string) {
		f.t.Helper()
		eventually(f.t, patience, fmt.Sprintf("the queues are %v", want), func() bool {
			w := f.worker()
			return slices.Equal(w.queues(), want)
		})
	}
	f.act("/api/worker/queue/add-consumer/go@host", "add consumer extra", "queue", "extra")
	queues("celery", "extra")
	f.act("/api/worker/queue/cancel-consumer/go@host", "no longer consuming from extra", "queue", "extra")
	queues("celery")
}
