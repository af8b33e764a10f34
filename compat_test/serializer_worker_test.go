package compat_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
)

// startSerializer starts a worker of ours for which everything is in one serializer.
func startSerializer(t *testing.T, a app, serializer string) *process {
	t.Helper()
	env := []string{"JOURNAL=" + a.journal, "BROKER=" + a.broker, "SERIALIZER=" + serializer, "TASK_COMPRESSION=zstd"}
	p := start(t, "worker for "+serializer, "", env, workerBinary)
	p.waitLog(t, "ready.")
	return p
}

// settingsFor makes a Celery app use one serializer for everything.
func settingsFor(serializer string) map[string]any {
	return map[string]any{
		"task_serializer": serializer, "result_serializer": serializer,
		"accept_content": []string{serializer}, "result_accept_content": []string{serializer},
	}
}

// TestSerializers sends tasks in each serializer with each compression, and reads what
// comes of them with AsyncResult.get().
func TestSerializers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"yaml", "msgpack", "pickle"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{broker: server.url(0), journal: server.url(1), settings: settingsFor(name)}
			startSerializer(t, a, name)
			var got struct {
				Wrong  [][]any
				Raised map[string][]any
				Chain  int
				Chord  []int
			}
			a.run(t, &got, "serializers.py")
			for _, wrong := range got.Wrong {
				t.Errorf("compression %v: %s came back as %s", wrong...)
			}
			if sums := append([]int{got.Chain}, got.Chord...); name != "yaml" && !cmp.Equal(sums, []int{113, 3, 7}) {
				t.Errorf("chain and chord: %v", sums)
			}
			want := map[string][]any{
				"value error":  {"builtins", "ValueError", []any{"bad", "1"}, "FAILURE"},
				"key error":    {"builtins", "KeyError", []any{"k"}, "FAILURE"},
				"decode error": {"builtins", "Exception", []any{"<class 'UnicodeDecodeError'>(['one argument only'])"}, "FAILURE"},
				"importable":   {"shoperrors", "OutOfStock", []any{"pen", "3"}, "FAILURE"},
				"hidden":       {"celery.exceptions", "Hidden", []any{"unseen"}, "FAILURE"},
				"unknown":      {"celery.exceptions", "NotRegistered", []any{"tapp.no_such_task"}, "FAILURE"},
				"expired":      {"celery.exceptions", "TaskRevokedError", []any{"expired"}, "REVOKED"},
				"unencodable": {"kombu.exceptions", "EncodeError", []any{map[string]string{
					"yaml":    "TypeError('yaml: cannot represent an object of type decimal.Decimal')",
					"msgpack": `TypeError("msgpack: can not serialize 'decimal.Decimal' object")`,
				}[name]}, "FAILURE"},
			}
			if name == "pickle" {
				want["unencodable"] = []any{"returned", `{"__type__": "decimal", "__value__": "1.10"}`}
			}
			if diff := cmp.Diff(want, got.Raised); diff != "" {
				t.Errorf("exceptions (-want +got):\n%s", diff)
			}
			eventually(t, patience, "all messages are settled", func() bool { return server.idle(t, "celery") })
		})
	}
}

// TestPythonWorkersSerializer is our client with a Python worker.
func TestPythonWorkersSerializer(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"yaml", "msgpack", "pickle"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{broker: server.url(0), journal: server.url(1), settings: settingsFor(name)}
			a.startWorker(t)
			publisher, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: a.broker})
			if err != nil {
				t.Fatal(err)
			}
			defer publisher.Close()
			results, err := redisbackend.New(redisbackend.Config{URL: a.broker, Serializer: name})
			if err != nil {
				t.Fatal(err)
			}
			defer results.Close()
			for _, compression := range []string{"", "zlib", "bzip2", "lzma", "zstd", "brotli"} {
				c, err := client.New(client.Config{Publisher: publisher, Loader: results, Serializer: name, Compression: compression})
				if err != nil {
					t.Fatal(err)
				}
				checkPythonAnswers(t, c, name+" "+compression)
			}
		})
	}
}

func checkPythonAnswers(t *testing.T, c *client.Client, setting string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	value := []any{"您好 😀", int64(7), 2.0, nil, true, []byte{255, 0}, []any{}, map[string]any{"yes": "no"}}
	result, err := c.Delay(ctx, "tapp.same", value)
	if err != nil {
		t.Fatal(err)
	}
	var got []any
	if err := result.Get(ctx, &got); err != nil || !cmp.Equal(value, got) {
		t.Errorf("%s: %v, %v", setting, got, err)
	}
	hidden := "celery.utils.serialization.UnpickleableExceptionWrapper: ('nowhere.errors', 'Hidden', ['unseen'], \"Hidden('unseen')\")" // as Celery stores it
	if strings.HasPrefix(setting, "pickle") {
		hidden = "nowhere.errors.Hidden: unseen"
	}
	for class, args := range map[string][]any{"tapp.fail": {"bad", 1}, "tapp.throw_hidden": {"unseen"}, "tapp.throw": {"shoperrors", "OutOfStock", "pen", 3}} {
		result, err := c.Delay(ctx, class, args...)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"tapp.fail": "ValueError: ('bad', 1)", "tapp.throw_hidden": hidden, "tapp.throw": "shoperrors.OutOfStock: ('pen', 3)",
		}[class]
		var exception *protocol.Exception
		if err := result.Get(ctx, nil); !errors.As(err, &exception) || exception.Error() != want {
			t.Errorf("%s: %s raised %v, want %s", setting, class, err, want)
		}
	}
}

// TestHostilePickles sends pickles that execute something in Python. Nothing is
// executed, each is logged and dropped, and the worker goes on.
func TestHostilePickles(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	w := startWorker(t, a, "--accept-content", "json,pickle")
	trace := filepath.Join(t.TempDir(), "executed")
	a.run(t, nil, `
import base64, json, os, pickle, subprocess, sys, uuid
from kombu import Connection
import tapp
trace = sys.argv[1]
class Run:
    def __init__(self, f, *args): self.call = (f, args)
    def __reduce__(self): return self.call
touch = "touch " + trace
attacks = [Run(os.system, touch), Run(eval, "open(%r, 'w')" % trace), Run(exec, "open(%r, 'w')" % trace),
           Run(subprocess.Popen, ["touch", trace]), Run(getattr, "text", "upper"), Run(open, trace, "w"), Run(__import__, "os")]
client = tapp.app.connection().default_channel.client
def send(body, **headers):
    client.lpush("celery", json.dumps({"body": base64.b64encode(body).decode(), "content-encoding": "binary",
        "content-type": "application/x-python-serialize", "headers": dict({"task": "tapp.same", "id": str(uuid.uuid4()), "lang": "py"}, **headers),
        "properties": {"body_encoding": "base64", "delivery_tag": str(uuid.uuid4()), "delivery_info": {"exchange": "", "routing_key": "celery"}}}))
for attack in attacks:
    for protocol in range(2, 6):
        send(pickle.dumps(([attack], {}, {}), protocol))
        send(pickle.dumps(attack, protocol))
send(b"")
send(b"garbage")
send(pickle.dumps([])[:-1])
send(pickle.dumps(([1], {}, {})), compression="application/x-gzip")
bomb = []
for i in range(60):
    bomb = [bomb, bomb]
send(pickle.dumps((bomb, {}, {})))
loop = []
loop.append(loop)
send(pickle.dumps(([loop], {}, {})))
assert tapp.same.apply_async([(1, 2)], serializer="pickle").get(timeout=tapp.PATIENCE) == [1, 2]
`, trace)
	eventually(t, patience, "all are settled", func() bool { return server.idle(t, "celery") })
	if n := w.log.count("is not plain data"); n < 56 {
		t.Errorf("%d of 56 attacks are in the log", n)
	}
	for _, name := range []string{"posix.system", "builtins.eval", "builtins.exec", "subprocess.Popen", "io.open", "builtins.__import__"} {
		if !w.log.contains(name + " is not plain data") {
			t.Errorf("the log does not name %s", name)
		}
	}
	if _, err := os.Stat(trace); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was executed: %v", err)
	}
	a.run(t, nil, `import tapp; assert tapp.add.delay(1, 2).get(timeout=tapp.PATIENCE) == 3`)
	w.signal(t, syscall.SIGTERM)
	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestSuccessIsFinalInSerializers stores failures over records that a Python worker
// left, in its serializer and compressed.
func TestSuccessIsFinalInSerializers(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	for i, name := range []string{"yaml", "msgpack", "pickle"} {
		for j, compression := range []any{nil, "gzip"} {
			settings := settingsFor(name)
			settings["result_compression"] = compression
			a := app{broker: server.url(2*i + j), journal: server.url(15), settings: settings}
			worker := a.startWorker(t)
			var ids []string
			a.run(t, &ids, `
import json, tapp
done, failed = tapp.same.delay("first"), tapp.fail.delay("first")
done.get(timeout=tapp.PATIENCE); failed.get(timeout=tapp.PATIENCE, propagate=False)
print(json.dumps([done.id, failed.id]))`)
			worker.kill()
			a.run(t, nil, `import sys, tapp; tapp.fail.apply_async(["again"], task_id=sys.argv[1]); tapp.same.apply_async(["again"], task_id=sys.argv[2])`, ids...)
			before := fmt.Sprintf("%s", inDB(t, a.broker, "GET", "celery-task-meta-"+ids[0]))
			ours := startSerializer(t, a, name)
			a.run(t, nil, `
import sys, time, tapp
from celery.result import AsyncResult
for i in range(20 * tapp.PATIENCE):
    if AsyncResult(sys.argv[2]).state == "SUCCESS": break
    time.sleep(0.05)
assert AsyncResult(sys.argv[2]).get() == "again"
assert AsyncResult(sys.argv[1]).get() == "first"`, ids...)
			ours.signal(t, syscall.SIGTERM)
			ours.exitCode(t)
			if after := fmt.Sprintf("%s", inDB(t, a.broker, "GET", "celery-task-meta-"+ids[0])); after != before {
				t.Errorf("%s, %v: the record %q became %q", name, compression, before, after)
			}
		}
	}
}

// inDB sends a command to the database of a URL.
func inDB(t *testing.T, url, command string, args ...any) any {
	t.Helper()
	conn, err := redis.DialURL(url, redis.DialReadTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reply, err := conn.Do(command, args...)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}
