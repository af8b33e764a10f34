package compat_test

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
)

// TestControlEffects has both workers do what commands say, and compares what comes of
// it. Celery's pool of processes is not the same after it was resized, or one of its
// processes was killed: so each check of that kind has a worker of its own.
func TestControlEffects(t *testing.T) {
	t.Parallel()
	for _, checks := range [][]string{
		{"revoke_before", "revoke_reserved_and_running", "rate_limit", "queues", "totals"},
		{"terminate_later", "terminate"},
		{"revoke_by_stamps"},
		{"pool"},
	} {
		t.Run(checks[0], func(t *testing.T) {
			t.Parallel()
			c := startControlled(t)
			var python, ours map[string]any
			t.Run("sides", func(t *testing.T) { // both at a time: the tasks sleep
				for side, into := range map[[2]string]*map[string]any{{pyNode, pyQueue}: &python, {goNode, goQueue}: &ours} {
					t.Run(side[0], func(t *testing.T) {
						t.Parallel()
						c.run(t, into, "control.py", append([]string{"effects", side[0], side[1]}, checks...)...)
					})
				}
			})
			if diff := cmp.Diff(python, ours); diff != "" {
				t.Errorf("effects (-Python +Go):\n%s", diff)
			}
		})
	}
}

// TestControlOurEffects checks what Celery 5.7 does not do as it should. Its time_limit
// changes what registered shows, and nothing else before the worker connects again
// (create_request_cls keeps the limits of the start); its pool runs tasks in new
// processes when it comes to that.
func TestControlOurEffects(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(9)}
	startWorker(t, a, "-n", goNode, "-Q", goQueue)
	var got map[string]any
	a.run(t, &got, "control.py", "effects", goNode, goQueue, "time_limit", "concurrency")
	success := []any{"SUCCESS", 6.0}
	want := map[string]any{
		"time_limit": []any{
			[]any{"FAILURE", "SoftTimeLimitExceeded", "SoftTimeLimitExceeded()"},
			[]any{"FAILURE", "TimeLimitExceeded", "TimeLimitExceeded(1,)"},
			[]any{"tapp.nap [time_limit=1]"},
			[]any{"SUCCESS", 1.5},
		},
		"concurrency": []any{true, true, []any{success, success, success}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

// TestControlSurvives restarts what is around the worker: Redis, and then the worker.
func TestControlSurvives(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(9)}
	args := []string{"-n", goNode, "-Q", goQueue, "--statedb", t.TempDir() + "/state"}
	w := startWorker(t, a, args...)
	c := &controlled{app: a, server: server}
	ask := func(method, arguments, want string) {
		t.Helper()
		eventually(t, patience, method+" = "+want, func() bool {
			replies := c.replies(t, []any{[]any{method, json.RawMessage(arguments)}})
			return strings.Contains(string(replies[0][goNode]), want)
		})
	}
	ask("add_consumer", `{"queue": "added"}`, "add consumer added")
	ask("revoke", `{"task_id": ["r1", "r2"]}`, "flagged as revoked")
	server.kill()
	server.start(t)
	ask("active_queues", `{}`, `"name": "added"`)
	var result any
	a.run(t, &result, `import json, tapp; print(json.dumps(tapp.add.apply_async((1, 2), queue="added").get(timeout=tapp.PATIENCE)))`)
	if result != 3.0 {
		t.Errorf("the task of the added queue returned %v", result)
	}
	w.signal(t, syscall.SIGTERM)
	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	startWorker(t, a, args...)
	ask("revoked", `{}`, `"r1"`)
	ask("revoked", `{}`, `"r2"`)
}

// TestControlLeavesNothing checks that replies nobody reads do not stay.
func TestControlLeavesNothing(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(9)}
	startWorker(t, a, "-n", goNode, "-Q", goQueue)
	request := protocol.ControlRequest{
		Method: "ping", Ticket: "t", ReplyTo: &protocol.ControlAddress{Exchange: "reply.celery.pidbox", RoutingKey: "oid"},
	}
	server.do(t, "PUBLISH", "/0.celery.pidbox", envelopetest.Encode(request.Encode(), "celery.pidbox", "", "tag")) // nobody is bound
	server.do(t, "PUBLISH", "/0.celery.pidbox", "garbage")
	a.run(t, nil, `from tapp import app; assert app.control.ping(timeout=120, limit=1) == [{"go@h": {"ok": "pong"}}]`)
	if left := server.strings(t, "KEYS", "*.reply.celery.pidbox"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	// A requester that was killed stays bound.
	server.do(t, "SADD", "_kombu.binding.reply.celery.pidbox", "oid\x06\x16\x06\x16oid.reply.celery.pidbox")
	server.do(t, "PUBLISH", "/0.celery.pidbox", envelopetest.Encode(request.Encode(), "celery.pidbox", "", "tag"))
	var lists []string
	eventually(t, patience, "a reply", func() bool {
		lists = server.strings(t, "KEYS", "oid.*")
		return len(lists) == 1
	})
	if ttl := server.int(t, "PTTL", lists[0]); ttl <= 0 || time.Duration(ttl)*time.Millisecond > time.Minute {
		t.Errorf("the list of replies lives for %d ms", ttl)
	}
}

func TestControlAutoscale(t *testing.T) {
	t.Parallel()
	c := startControlled(t, "--autoscale", "4,1")
	script := []any{
		[]any{"stats", struct{}{}},
		[]any{"pool_grow", struct{}{}},
		[]any{"pool_shrink", map[string]int{"n": 1}},
		[]any{"autoscale", map[string]int{"max": 5, "min": 2}},
		[]any{"stats", struct{}{}},
		[]any{"autoscale", struct{}{}},
		[]any{"autoscale", map[string]int{"min": 3}},
		[]any{"stats", struct{}{}},
	}
	for i, replies := range c.replies(t, script) {
		var python, ours map[string]any
		if err := errors.Join(json.Unmarshal(replies[pyNode], &python), json.Unmarshal(replies[goNode], &ours)); err != nil {
			t.Fatalf("%s: %v", script[i], err)
		}
		for _, side := range []map[string]any{python, ours} {
			for key := range side {
				if script[i].([]any)[0] == "stats" && key != "autoscaler" && key != "prefetch_count" {
					delete(side, key)
				}
			}
		}
		if diff := cmp.Diff(python, ours); diff != "" {
			t.Errorf("%d %v (-Python +Go):\n%s", i, script[i], diff)
		}
	}
}

func TestControlSwitchedOff(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(9)}
	startWorker(t, a, "-n", goNode, "worker_enable_remote_control=false")
	if keys := server.strings(t, "KEYS", "*pidbox*"); len(keys) > 0 {
		t.Errorf("keys %q", keys)
	}
	a.run(t, nil, `from tapp import app; assert app.control.ping(timeout=1) == []`)
}
