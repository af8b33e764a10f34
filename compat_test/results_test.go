package compat_test

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"
)

// outcome is what a Python client sees of a result.
type outcome struct {
	Value  any
	Raised *struct {
		Module, Type, Str string
		Args              []any
	}
	State      string
	Ready      bool
	Successful bool
	Failed     bool
	Traceback  any  // nil, or whether there is text
	DateDone   bool `json:"date_done"`
	Children   []any
}

// TestResultsInPython reads our results with AsyncResult of each Celery.
func TestResultsInPython(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{venv: venv, broker: server.url(0), journal: server.url(1)}
			startWorker(t, a)
			var got map[string]outcome
			a.run(t, &got, "results.py")
			checkValues(t, got)
			checkExceptions(t, got)
			eventually(t, patience, "all messages are settled", func() bool { return server.idle(t, "celery") })
		})
	}
}

func checkValues(t *testing.T, got map[string]outcome) {
	t.Helper()
	for name, want := range map[string]any{
		"sum":       3.0,
		"float":     2.0,
		"big":       1e50,
		"none":      nil,
		"keyword":   "yo bob!",
		"countdown": "later",
		// encoding/json reads the lone surrogate that Python prints as U+FFFD.
		"unicode": map[string]any{"args": []any{"您好 😀"}, "kwargs": map[string]any{"ключ": "\x00\u2028\ufffd"}},
	} {
		want := outcome{Value: want, State: "SUCCESS", Ready: true, Successful: true, DateDone: true, Children: []any{}}
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff([]any{"PENDING", "PENDING"}, got["ignored"].Value); diff != "" {
		t.Errorf("ignored results (-want +got):\n%s", diff)
	}
}

func checkExceptions(t *testing.T, got map[string]outcome) {
	t.Helper()
	for _, want := range []struct {
		name, module, class, str string
		args                     []any
	}{
		{"value error", "builtins", "ValueError", "('bad', 1)", []any{"bad", 1.0}},
		{"no arguments", "builtins", "ValueError", "", []any{}},
		{"unicode error", "builtins", "ValueError", "坏", []any{"坏"}},
		{"importable", "shoperrors", "OutOfStock", "('pen', 3)", []any{"pen", 3.0}},
		{"not importable", "celery.exceptions", "Hidden", "unseen", []any{"unseen"}},
		{
			"wrong arguments", "builtins", "TypeError",
			"add() missing 1 required positional argument: 'y'",
			[]any{"add() missing 1 required positional argument: 'y'"},
		},
		{"unknown task", "celery.exceptions", "NotRegistered", "'tapp.no_such_task'", []any{"tapp.no_such_task"}},
		{"expired", "celery.exceptions", "TaskRevokedError", "expired", []any{"expired"}},
	} {
		seen := got[want.name]
		if seen.Raised == nil {
			t.Errorf("%s: get() returned %v, want %s", want.name, seen.Value, want.class)
			continue
		}
		raised := [...]any{seen.Raised.Module, seen.Raised.Type, seen.Raised.Str, seen.Raised.Args}
		if diff := cmp.Diff([...]any{want.module, want.class, want.str, want.args}, raised); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.name, diff)
		}
		state, traceback := "FAILURE", any(true)
		switch want.name {
		case "expired":
			state, traceback = "REVOKED", nil
		case "unknown task":
			traceback = nil
		}
		if seen.State != state || !seen.Ready || seen.Successful || !seen.DateDone || seen.Traceback != traceback {
			t.Errorf("%s: %+v", want.name, seen)
		}
	}
}

// TestResultSettings compares the records under each setting with a Python worker's.
func TestResultSettings(t *testing.T) {
	t.Parallel()
	calls := sample(append(publishCases(t), malformedCalls(t)...), 4)
	for name, test := range map[string]struct {
		settings map[string]any
		flags    []string
	}{
		"extended": {
			map[string]any{"result_extended": true, "task_track_started": true},
			[]string{"--result-extended", "--track-started"},
		},
		"never expires": {map[string]any{"result_expires": 0}, []string{"--result-expires", "0"}},
		"ten minutes":   {map[string]any{"result_expires": 600}, []string{"--result-expires", "600"}},
		"ignored":       {map[string]any{"task_ignore_result": true}, []string{"--ignore-result"}},
		"late": {
			map[string]any{"task_acks_late": true, "result_backend_transport_options": map[string]any{"global_keyprefix": "shop"}},
			[]string{"--acks-late", "--result-backend-transport-options", "global_keyprefix=shop"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compareWorkers(t, calls, test.settings, test.flags...)
		})
	}
}

// sample takes every nth call.
func sample(calls []call, n int) []call {
	var some []call
	for i, c := range calls {
		if i%n == 0 {
			some = append(some, c)
		}
	}
	return some
}

// TestPublishedRecords reads the channel that waiting clients listen on.
func TestPublishedRecords(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	records := subscribe(t, server, "celery-task-meta-*")
	a := app{broker: server.url(0), journal: server.url(1)}
	w := startWorker(t, a, "--track-started", "-n", "w1@host")
	var id string
	a.run(t, &id, `import json, tapp; r = tapp.add.delay(1, 2); r.get(timeout=tapp.PATIENCE); print(json.dumps(r.id))`)

	key := "celery-task-meta-" + id
	started, done := <-records, <-records
	if started.Channel != key || done.Channel != key {
		t.Fatalf("published on %s and %s, want %s", started.Channel, done.Channel, key)
	}
	var record struct {
		Status string
		Result struct {
			PID      int
			Hostname string
		}
		DateDone any `json:"date_done"`
	}
	if err := json.Unmarshal(started.Data, &record); err != nil {
		t.Fatal(err)
	}
	if record.Status != "STARTED" || record.Result.PID != w.cmd.Process.Pid || record.Result.Hostname != "w1@host" || record.DateDone != nil {
		t.Errorf("first record: %s", started.Data)
	}
	stored, err := redis.String(server.do(t, "GET", key), nil)
	if err != nil || stored != string(done.Data) {
		t.Errorf("published %s\nstored    %s %v", done.Data, stored, err)
	}
}

// subscribe returns what is published on channels that match a pattern.
func subscribe(t *testing.T, server *redisServer, pattern string) <-chan redis.Message {
	t.Helper()
	conn, err := redis.Dial("tcp", server.addr())
	if err != nil {
		t.Fatal(err)
	}
	pubsub := redis.PubSubConn{Conn: conn}
	if err := pubsub.PSubscribe(pattern); err != nil {
		t.Fatal(err)
	}
	pubsub.Receive() // the confirmation
	messages := make(chan redis.Message, 1000)
	go func() {
		defer close(messages)
		for {
			message, ok := pubsub.Receive().(redis.Message)
			if !ok {
				return
			}
			messages <- message
		}
	}()
	t.Cleanup(func() { conn.Close() })
	return messages
}

// TestSuccessIsFinal delivers a task again after it has succeeded.
func TestSuccessIsFinal(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	const record = `{"status": "SUCCESS", "result": "first", "traceback": null, "children": [], "date_done": "2026-01-01T00:00:00+00:00", "task_id": "once"}`
	server.do(t, "SET", "celery-task-meta-once", record)
	records := subscribe(t, server, "celery-task-meta-once")
	a.run(t, nil, `import tapp; tapp.fail.apply_async(["again"], task_id="once"); tapp.same.apply_async(["again"], task_id="once")`)
	w := startWorker(t, a)
	eventually(t, patience, "both deliveries are settled", func() bool { return server.idle(t, "celery") && w.log.count("[once] received") == 2 })
	w.signal(t, syscall.SIGTERM)
	w.exitCode(t)
	if got := fmt.Sprintf("%s", server.do(t, "GET", "celery-task-meta-once")); got != record {
		t.Errorf("the record is now %s", got)
	}
	select {
	case m := <-records:
		t.Errorf("published %s", m.Data)
	case <-time.After(100 * time.Millisecond):
	}
}
