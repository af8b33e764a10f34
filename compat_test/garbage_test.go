package compat_test

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// garbage are queue entries that are no messages at all. Each one ends a Python
// worker.
var garbage = map[string]string{
	"empty": "", "spaces": "   ", "text": "garbage", "null": "null", "number": "42", "string": `"text"`,
	"binary": "\x00\xff\xfe\x80", "open object": "{", "open string": `{"body": "`, "array": "[1, 2]",
	"close early": `{"a": 1}}`, "two objects": `{} {}`, "empty object": "{}", "only headers": `{"headers": {}}`,
	"properties null": `{"properties": null}`, "properties list": `{"body": "", "properties": []}`,
	"not UTF-8":          "{\"body\": \"\xff\xfe\", \"headers\": {}, \"properties\": {}}",
	"braces in disguise": `{garbage}`, "quotes": `{"","celery"]`, "single quotes": `{'body': 'x'}`,
	"deep": strings.Repeat("[", 100000), "deep object": `{"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
	"deep unclosed": strings.Repeat(`{"a":`, 50000), "large": strings.Repeat("x", 1<<20),
	"body is a number": `{"body": 1, "headers": {"task": "tapp.same", "id": "g1"}, "content-type": "application/json", "content-encoding": "utf-8", "properties": {"delivery_tag": "g1", "delivery_info": {}}}`,
	"headers is text":  `{"body": "", "headers": "x", "content-type": "application/json", "content-encoding": "utf-8", "properties": {"delivery_tag": "g2", "delivery_info": {}}}`,
	"bad base64":       `{"body": "%%%", "headers": {"task": "tapp.same", "id": "g3"}, "content-type": "application/json", "content-encoding": "utf-8", "properties": {"body_encoding": "base64", "delivery_tag": "g3", "delivery_info": {"exchange": "", "routing_key": "celery"}}}`,
	"unknown encoding": `{"body": "W10=", "headers": {"task": "tapp.same", "id": "g4"}, "content-type": "application/json", "content-encoding": "utf-8", "properties": {"body_encoding": "rot13", "delivery_tag": "g4", "delivery_info": {"exchange": "", "routing_key": "celery"}}}`,
	"task is a number": `{"body": "W1tdLHt9LHt9XQ==", "headers": {"task": 5, "id": 6}, "content-type": "application/json", "content-encoding": "utf-8", "properties": {"body_encoding": "base64", "delivery_tag": "g5", "delivery_info": {"exchange": "", "routing_key": "celery"}}}`,
}

// TestGarbage pushes everything that is no message between messages that are. All
// tasks run, nothing is left, and a Python worker started afterwards lives.
func TestGarbage(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	entries := map[string]string{}
	for name, raw := range garbage {
		entries[name] = raw
	}
	for _, m := range malformedMessages(t) {
		entries["malformed "+m.Name] = m.Raw
	}
	load(t, a, "tapp.work", 5, 0, nil)
	for _, raw := range entries {
		server.do(t, "LPUSH", "celery", raw)
		server.do(t, "LPUSH", "celery\x06\x169", raw)
	}
	load(t, a, "tapp.work", 5, 0, nil)

	w := startWorker(t, a)
	eventually(t, patience, "nothing waits", func() bool { return server.idle(t, "celery") })
	load(t, a, "tapp.work", 1, 0, nil)
	eventually(t, patience, "all tasks are done", func() bool { return server.journalLen(t, "done") == 11 })
	w.signal(t, syscall.SIGTERM)
	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	neighbourLives(t, server, a)
}

// neighbourLives checks that nothing in Redis ends a Python worker, which restores
// what it finds in unacked.
func neighbourLives(t *testing.T, server *redisServer, a app) {
	t.Helper()
	a.settings = eagerRestore(1)
	python := a.startWorker(t)
	a.run(t, nil, `import tapp; assert tapp.add.delay(1, 2).get(timeout=tapp.PATIENCE) == 3`)
	time.Sleep(2500 * time.Millisecond) // two rounds of its restore
	a.run(t, nil, `import tapp; assert tapp.add.delay(1, 2).get(timeout=tapp.PATIENCE) == 3`)
	if python.log.contains("Unrecoverable error") || python.log.contains("CRITICAL") {
		t.Error("the Python worker met something it could not bear")
	}
	if !server.idle(t, "celery") {
		t.Error("something is left in the queue or in unacked")
	}
}

// TestGarbageInUnacked puts entries that nobody can restore where a restore looks.
func TestGarbageInUnacked(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	old := time.Now().Add(-3 * time.Hour).Unix()
	n := 0
	for name, raw := range garbage {
		for _, entry := range []string{raw, "[" + raw + `,"","celery"]`, "[]", "[1]", `["x", "", "celery"]`, `[null, null, null]`} {
			n++
			tag := name + "-" + string(rune('a'+n%26))
			server.do(t, "HSET", "unacked", tag, entry)
			server.do(t, "ZADD", "unacked_index", old, tag)
		}
	}
	server.do(t, "ZADD", "unacked_index", old, "index without an entry")
	load(t, a, "tapp.work", 1, 0, nil)
	w := startWorker(t, a)
	eventually(t, patience, "unacked is empty", func() bool { return server.idle(t, "celery") })
	load(t, a, "tapp.work", 1, 0, nil)
	eventually(t, patience, "tasks are done", func() bool { return server.journalLen(t, "done") == 2 })
	w.signal(t, syscall.SIGTERM)
	w.exitCode(t)
	neighbourLives(t, server, a)
}
