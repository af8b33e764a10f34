package compat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend/rpcbackend"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

// TestResultsAsMessages: what arrives of each task whose results are messages is what arrives when Celery's
// worker runs it, byte for byte and with the same properties, and so is what callers get, Python's and Go's. That is
// so for the tasks of a Python app, and for those written in Go.
func TestResultsAsMessages(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := app{venv: venv, module: "rpcapp", backend: "rpc://"}
			want := resultsOf(t, a, "python", func(a app) *process { return a.startWorker(t) })
			if len(want) != 28+9+7 {
				t.Errorf("%d cases", len(want))
			}
			compareResults(t, "children", want, resultsOf(t, a, "python", func(a app) *process { return a.startChildren(t) }))
			if venv == celery57 {
				want["lost"] = json.RawMessage(`""`)
				compareResults(t, "Go handlers", want, resultsOf(t, a, "", func(a app) *process { return startWorker(t, a) }))
			}
		})
	}
}

func compareResults(t *testing.T, kind string, want, got map[string]json.RawMessage) {
	t.Helper()
	for name := range want {
		if diff := cmp.Diff(toJSON(t, want[name]), toJSON(t, got[name])); diff != "" {
			t.Errorf("%s: %s (-Celery +Apium):\n%s", kind, name, diff)
		}
	}
}

// resultsOf are the results of a worker's tasks as they arrive, and as callers in both languages are told them.
func resultsOf(t *testing.T, a app, does string, start func(app) *process) map[string]json.RawMessage {
	t.Helper()
	vhost := rabbittest.New(t)
	a.broker = vhost.URL()
	w := start(a)
	defer w.kill()
	var arrived, told map[string]json.RawMessage
	a.run(t, &arrived, "rpcapp.py", "streams", does)
	a.run(t, &told, "rpcapp.py", "callers")
	all := toldGo(t, vhost)
	maps.Copy(all, arrived)
	for name, result := range told {
		all["Python is told "+name] = result
	}
	return all
}

// toldGo is what a caller in Go is told.
func toldGo(t *testing.T, vhost *rabbittest.VHost) map[string]json.RawMessage {
	t.Helper()
	publisher, err := amqpbroker.OpenPublisher(t.Context(), amqpbroker.PublisherConfig{URL: vhost.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	inbox, err := rpcbackend.NewInbox(rpcbackend.Config{URL: vhost.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer inbox.Close()
	c, err := client.New(client.Config{Publisher: publisher, Loader: inbox})
	if err != nil {
		t.Fatal(err)
	}
	add, fail := canvas.Sig("rpcapp.add", 1, 2), canvas.Sig("rpcapp.fail", "x")
	told := map[string]json.RawMessage{}
	tell := func(name string, value any) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		told["Go is told "+name] = text
	}
	for name, sig := range map[string]canvas.Signature{
		"add": add, "failure": fail, "chain": canvas.Chain(add, canvas.Sig("rpcapp.add", 3)), "failed chain": canvas.Chain(fail, add, add),
		"progress": canvas.Sig("rpcapp.progress"), "group": canvas.Group(add, add), "failed group": canvas.Group(add, fail),
	} {
		result, err := c.Send(t.Context(), sig)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var value any
		failure := "none"
		if name == "failed chain" {
			result = result.Parent().Parent() // 4.4 tells nothing of the others
		}
		if err := result.Get(t.Context(), &value); err != nil {
			failure = err.Error()
		}
		tell(name, []any{value, failure})
	}
	return told
}

// TestResultsTooLongAndPersistent has workers send results that survive a restart of the broker (result_persistent), and one that
// is longer than the broker takes. Celery's worker loses that one without a word, and has the next task fail in its place; with
// ours the caller is told that it is too long, and no other task suffers.
func TestResultsTooLongAndPersistent(t *testing.T) {
	t.Parallel()
	rabbit := rabbittest.Start(t, rabbittest.Config("max_message_size = 200000"))
	type record struct {
		properties [][2]any
		body       string
	}
	records := func(begin func(app) *process, n string) map[string]record {
		a := app{broker: rabbit.VHost(t).URL(), backend: "rpc://", module: "rpcapp", settings: map[string]any{"result_persistent": true}}
		begin(a)
		var got map[string][][][4]json.RawMessage
		a.run(t, &got, "rpcapp.py", "limits", n)
		of := map[string]record{}
		for name, tasks := range got {
			if len(tasks[0]) == 0 {
				continue
			}
			var r record
			if err := errors.Join(json.Unmarshal(tasks[0][0][0], &r.properties), json.Unmarshal(tasks[0][0][3], &r.body)); err != nil {
				t.Fatal(err)
			}
			of[name] = r
		}
		return of
	}
	want := records(func(a app) *process { return a.startWorker(t, "-c", "1") }, "0")
	if !strings.Contains(fmt.Sprint(want["before"].properties), "[delivery_mode 2]") || want["long"].body != "" ||
		!strings.Contains(want["after"].body, `"exc_type": "PreconditionFailed"`) || !strings.Contains(want["still"].body, `"SUCCESS"`) {
		t.Errorf("Celery's records: %v", want)
	}
	for name, begin := range map[string]func(app) *process{
		"Go":       func(a app) *process { return startWorker(t, a, "-c", "1", "result_persistent=true") },
		"children": func(a app) *process { return a.startChildren(t, "-c", "1") },
	} {
		got := records(begin, "1")
		for _, same := range []string{"before", "still"} {
			if diff := cmp.Diff(fmt.Sprint(want[same]), fmt.Sprint(got[same])); diff != "" {
				t.Errorf("%s: %s (-Celery +Apium):\n%s", name, same, diff)
			}
		}
		if !strings.Contains(got["after"].body, `"result": 4, "status": "SUCCESS"`) {
			t.Errorf("%s: the record of the next task: %v", name, got["after"])
		}
		if long := got["long"].body; !strings.Contains(long, `"status": "FAILURE"`) || !strings.Contains(long, "larger than configured max size 200000") {
			t.Errorf("%s: the record that is too long: %s", name, long)
		}
	}
}

// TestResultQueuesExpire compares the queues for results of Python's and Go's clients, and what is told of another's task: nothing.
func TestResultQueuesExpire(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	a := app{broker: vhost.URL(), backend: "rpc://", module: "rpcapp", settings: map[string]any{"result_expires": 3600}}
	var id string
	a.run(t, &id, `import json, rpcapp; print(json.dumps(rpcapp.add.delay(1, 2).id))`)
	queues := func() (found []rabbittest.Queue) {
		for name, q := range vhost.Queues(t) {
			if uuids.MatchString(name) {
				found = append(found, q)
			}
		}
		return found
	}
	python := queues()
	vhost.DeleteQueue(t, python[0].Name)
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend, conf.ResultExpires = a.broker, a.backend, time.Hour
	c := openApp(t, conf)
	if _, err := c.Send(t.Context(), canvas.Sig("rpcapp.add", 1, 2)); err != nil {
		t.Fatal(err)
	}
	ours := queues()
	if diff := cmp.Diff(python[0].Arguments, ours[0].Arguments); diff != "" || python[0].Durable != ours[0].Durable || python[0].Type != ours[0].Type {
		t.Errorf("(-Celery +Go):\n%s\n%+v", diff, ours)
	}
	a.startWorker(t)
	var told string
	a.run(t, &told, `
import json, sys, rpcapp
from celery.exceptions import TimeoutError
assert rpcapp.add.delay(1, 2).get(timeout=rpcapp.PATIENCE) == 3
try: rpcapp.app.AsyncResult(sys.argv[1]).get(timeout=0.1)
except TimeoutError as exc: print(json.dumps(str(exc)))`, id)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := c.Result(id).Get(ctx, nil)
	if told != "The operation timed out." || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "it comes only to the client that has sent the task") {
		t.Errorf("Celery says %q, ours %v", told, err)
	}
}
