package compat_test

import (
	"testing"
	"time"

	"github.com/gocelery/gocelery"
	"github.com/gomodule/redigo/redis"
)

// TestGoceleryProducer serves the messages of gocelery's client, and gives it
// results it can read.
func TestGoceleryProducer(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	startWorker(t, app{broker: server.url(0), journal: server.url(1)})
	client := goceleryClient(t, server)
	for _, test := range []struct {
		name string
		send func() (*gocelery.AsyncResult, error)
		want any
	}{
		{"positional", func() (*gocelery.AsyncResult, error) { return client.Delay("worker.add", 2, 3) }, 5.0},
		{"CeleryTask", func() (*gocelery.AsyncResult, error) {
			return client.DelayKwargs("worker.multiply", map[string]any{"a": 6, "b": 7})
		}, 42.0},
		{"unicode", func() (*gocelery.AsyncResult, error) { return client.Delay("tapp.same", "这是 <&> 😀") }, "这是 <&> 😀"},
		{"keywords", func() (*gocelery.AsyncResult, error) {
			return client.DelayKwargs("tapp.greet", map[string]any{"name": "bob", "mark": "?"})
		}, "hi bob?"},
	} {
		result, err := test.send()
		if err != nil {
			t.Fatal(err)
		}
		got, err := result.Get(patience)
		if err != nil || got != test.want {
			t.Errorf("%s: %v, %v; want %v", test.name, got, err, test.want)
		}
	}
	if !server.idle(t, "celery") {
		t.Error("messages are left")
	}
}

// TestCeleryTaskFromPython calls a handler written for gocelery from Celery, many
// times at once: calls must not mix their arguments.
func TestCeleryTaskFromPython(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	startWorker(t, a, "-c", "8")
	var wrong []any
	a.run(t, &wrong, `
import json, tapp
sent = [(a, b, tapp.app.send_task("worker.multiply", kwargs={"a": a, "b": b})) for a in range(15) for b in range(15)]
print(json.dumps([[a, b, r.get(timeout=tapp.PATIENCE)] for a, b, r in sent if r.get(timeout=tapp.PATIENCE) != a * b]))
`)
	if len(wrong) > 0 {
		t.Errorf("wrong products: %v", wrong)
	}
	var failed string
	a.run(t, &failed, `
import json, tapp
r = tapp.app.send_task("worker.multiply", kwargs={"a": "x"})
r.get(timeout=tapp.PATIENCE, propagate=False)
print(json.dumps(repr(r.result)))
`)
	if want := `TypeError('multiply() malformed kwarg`; len(failed) < len(want) || failed[:len(want)] != want {
		t.Errorf("bad arguments: %s", failed)
	}
}

func goceleryClient(t *testing.T, server *redisServer) *gocelery.CeleryClient {
	t.Helper()
	pool := &redis.Pool{
		MaxIdle: 3, IdleTimeout: time.Minute,
		Dial: func() (redis.Conn, error) { return redis.DialURL(server.url(0)) },
	}
	t.Cleanup(func() { pool.Close() })
	client, err := gocelery.NewCeleryClient(gocelery.NewRedisBroker(pool), gocelery.NewRedisBackend(pool), 1)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
