package compat_test

import (
	"encoding/json"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

// delayedCases are tasks by their ids: the queue each is sent to, and options.
var delayedCases = map[string][2]any{
	"default":    {nil, options{"countdown": 3600}},
	"topic":      {"topics", options{"countdown": 300}},
	"pattern":    {"pattern", options{"countdown": 1<<26 + 12345}},
	"fanout":     {"fan", options{"countdown": 4000}},
	"direct":     {"direct", options{"countdown": 300}},
	"plain":      {"plain", options{"countdown": 300}},
	"undeclared": {"new", options{"countdown": 300}},
	"at once":    {"topics", options{}},
	"long ago":   {"topics", options{"countdown": -5}},
	"longest":    {"topics", options{"countdown": 1<<28 - 1}},
	"priority":   {"topics", options{"countdown": 600, "priority": 3}},
	"expires":    {"topics", options{"countdown": 600, "expires": 7200}},
}

type options map[string]any

// TestDelayedByProducers compares where tasks wait that are due later, and what their messages are like: those that
// Go's client sends, and a Go handler's retry, with those of Celery.
func TestDelayedByProducers(t *testing.T) {
	t.Parallel()
	cases, err := json.Marshal(delayedCases)
	if err != nil {
		t.Fatal(err)
	}
	celery := startRabbit(t)
	a := celery.app()
	a.module = "delayed"
	a.startWorker(t).kill() // it has declared what delays
	a.run(t, nil, "delayed.py", string(cases))
	want := left(t, celery, len(delayedCases))
	w := a.startWorker(t, "-Q", "topics")
	retried(t, a, w)
	wantRetried := left(t, celery, 1)

	apium := startRabbit(t)
	a = apium.app()
	a.module = "delayed"
	config := export(t, appDir, a, "delayed", "json")
	conf, err := settings.Load(settings.Sources{File: config})
	if err != nil {
		t.Fatal(err)
	}
	c := openApp(t, conf)
	for id, kase := range delayedCases { // nobody has declared anything yet
		sig := canvas.Sig("t", 1).Set(canvas.TaskID(id))
		if queue, ok := kase[0].(string); ok {
			sig = sig.Set(canvas.Queue(queue))
		}
		for name, value := range kase[1].(options) {
			sig = sig.Set(canvas.Opt(name, value))
		}
		if _, err := c.Send(t.Context(), sig); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	got := left(t, apium, len(delayedCases))
	w = start(t, "apium worker", "", []string{"JOURNAL=" + a.journal}, workerBinary, "worker", "-l", "info", "--config", config, "-Q", "topics",
		"--without-gossip", "--without-mingle", "--without-heartbeat")
	retried(t, a, w)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-Celery +Apium):\n%s", diff)
	}
	if diff := cmp.Diff(wantRetried, left(t, apium, 1)); diff != "" {
		t.Errorf("retried (-Celery +Apium):\n%s", diff)
	}
}

// retried has a worker run a task that is to be tried again in an hour, and ends it.
func retried(t *testing.T, a app, w *process) {
	t.Helper()
	a.run(t, nil, `import delayed
delayed.app.send_task("features.plain", [[[["retry", {"exc": ["KeyError", "again"], "countdown": 3600}]]]], task_id="retried")`)
	w.waitLog(t, "Retry in 3600s")
	w.signal(t, syscall.SIGTERM)
	w.exitCode(t)
}

// left are the n messages that wait, without what only one of the two languages' clients says.
func left(t *testing.T, s *redisServer, n int) dump {
	t.Helper()
	eventually(t, patience, "all messages are there", func() bool { // Celery's client does not wait for that
		ready := 0
		for _, q := range s.vhost.Queues(t) {
			ready += q.Ready
		}
		return ready == n
	})
	d := rabbitDump(t, s.vhost)
	for _, m := range d {
		delete(m, "header lang")
	}
	return d
}
