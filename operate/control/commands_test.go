package control_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// What Celery 5.7 replies to the same arguments.
func TestReplies(t *testing.T) {
	tests := []struct{ method, arguments, reply string }{
		{"ping", ``, `{"ok": "pong"}`},
		{"ping", `{"foo": 1}`, `{"ok": "pong"}`},
		{"nosuch", ``, `{"error": "KeyError('nosuch')"}`},
		{"clock", `{"foo": 1}`, `{"clock": 4}`},
		{"active_queues", `{"x": 1}`, `{"error": "TypeError(\"active_queues() got an unexpected keyword argument 'x'\")"}`},
		{"report", `{"x": 1, "y": 2}`, `{"error": "TypeError(\"report() got an unexpected keyword argument 'x'\")"}`},

		{"rate_limit", ``, `{"error": "TypeError(\"rate_limit() missing 2 required positional arguments: 'task_name' and 'rate_limit'\")"}`},
		{"rate_limit", `{"task_name": "x"}`, `{"error": "TypeError(\"rate_limit() missing 1 required positional argument: 'rate_limit'\")"}`},
		{"rate_limit", `{"task_name": "nope", "rate_limit": "1/s"}`, `{"error": "unknown task"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": "5/s"}`, `{"ok": "new rate limit set successfully"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": 1.5}`, `{"ok": "new rate limit set successfully"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": "5/"}`, `{"ok": "new rate limit set successfully"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": "0"}`, `{"ok": "new rate limit set successfully"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": 0}`, `{"ok": "rate limit disabled successfully"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": null}`, `{"ok": "rate limit disabled successfully"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": "abc"}`, `{"error": "Invalid rate limit string: ValueError(\"could not convert string to float: 'abc'\")"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": "/s"}`, `{"error": "Invalid rate limit string: ValueError(\"could not convert string to float: ''\")"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": "5/y"}`, `{"error": "KeyError('y')"}`},
		{"rate_limit", `{"task_name": "app.sleep", "rate_limit": " 5 / s"}`, `{"error": "KeyError(' s')"}`},

		{"time_limit", `{"task_name": "app.sleep", "soft": 1, "hard": 2.5}`, `{"ok": "time limits set successfully"}`},
		{"time_limit", `{"task_name": "app.sleep"}`, `{"ok": "time limits set successfully"}`},
		{"time_limit", `{"task_name": "nope"}`, `{"error": "unknown task"}`},
		{"time_limit", ``, `{"error": "unknown task"}`},

		{"revoke", `{"task_id": "a"}`, `{"ok": "tasks {'a'} flagged as revoked"}`},
		{"revoke", `{"task_id": ["a", "b", "a"]}`, `{"ok": "tasks {'a', 'b'} flagged as revoked"}`},
		{"revoke", `{"task_id": []}`, `{"ok": "tasks set() flagged as revoked"}`},
		{"revoke", `{"task_id": null}`, `{"ok": "tasks set() flagged as revoked"}`},
		{"revoke", `{"task_id": ["it's"]}`, `{"ok": "tasks {\"it's\"} flagged as revoked"}`},
		{"revoke", `{"task_id": "a", "terminate": true}`, `{"ok": "terminate: tasks unknown"}`},
		{"revoke", `{"task_id": "a", "terminate": true, "signal": 99}`, `{"ok": "terminate: tasks unknown"}`},
		{"revoke", `{"task_id": "a", "terminate": true, "signal": "NOSUCH"}`, `{"error": "AttributeError(\"module 'signal' has no attribute 'SIGNOSUCH'\")"}`},
		{"revoke", `{"task_id": "a", "terminate": true, "signal": "kill"}`, `{"error": "TypeError('signal name must be uppercase string.')"}`},
		{"revoke", `{"task_id": 5}`, `{"error": "TypeError('sequence item 0: expected str instance, int found')"}`},
		{"revoke", `{"task_id": {"a": 1}}`, `{"error": "TypeError(\"unhashable type: 'dict'\")"}`},
		{"revoke", `{"task_id": [["a"]]}`, `{"error": "TypeError(\"unhashable type: 'list'\")"}`},
		{"revoke", ``, `{"error": "TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")"}`},
		{"terminate", `{"task_id": "a", "signal": "KILL"}`, `{"ok": "terminate: tasks unknown"}`},
		{"terminate", `{"task_id": "a"}`, `{"error": "TypeError(\"terminate() missing 1 required positional argument: 'signal'\")"}`},
		{"terminate", ``, `{"error": "TypeError(\"terminate() missing 2 required positional arguments: 'signal' and 'task_id'\")"}`},

		{"revoke_by_stamped_headers", `{"headers": {"k": "v"}}`, `{"ok": "headers {'k': 'v'} flagged as revoked, but not terminated"}`},
		{"revoke_by_stamped_headers", `{"headers": {"k": ["v", "w"], "z": 5}}`, `{"ok": "headers {'k': ['v', 'w'], 'z': 5} flagged as revoked, but not terminated"}`},
		{"revoke_by_stamped_headers", `{"headers": ["k=v", "x=y=z"]}`, `{"ok": "headers {'k': 'v', 'x': 'y'} flagged as revoked, but not terminated"}`},
		{"revoke_by_stamped_headers", `{"headers": {"k": null}}`, `{"error": "TypeError(\"'NoneType' object is not iterable\")"}`},
		{"revoke_by_stamped_headers", `{"headers": {"k": "v"}, "terminate": true}`, `{"ok": "headers {'k': 'v'} were not terminated"}`},
		{"revoke_by_stamped_headers", `{"headers": ["k"]}`, `{"error": "IndexError('list index out of range')"}`},
		{"revoke_by_stamped_headers", `{"headers": "k=v"}`, `{"error": "AttributeError(\"'str' object has no attribute 'items'\")"}`},
		{"revoke_by_stamped_headers", `{"headers": null}`, `{"error": "AttributeError(\"'NoneType' object has no attribute 'items'\")"}`},
		{"revoke_by_stamped_headers", `{"headers": {"k": "v"}, "signal": "NOPE"}`, `{"error": "AttributeError(\"module 'signal' has no attribute 'SIGNOPE'\")"}`},

		{"pool_grow", `{"n": 0}`, `{"ok": "pool will grow"}`},
		{"pool_shrink", `{"n": 5}`, `{"error": "ValueError(\"Can't shrink pool. All processes busy!\")"}`},
		{"pool_restart", `{"reload": false}`, `{"error": "ValueError('Pool restarts not enabled')"}`},
		{"autoscale", `{"max": 3, "min": 1}`, `{"error": "ValueError('Autoscale not enabled')"}`},
		{"autoscale", `{"foo": 1}`, `{"error": "TypeError(\"autoscale() got an unexpected keyword argument 'foo'\")"}`},

		{"add_consumer", ``, `{"error": "TypeError(\"add_consumer() missing 1 required positional argument: 'queue'\")"}`},
		{"cancel_consumer", `{"queue": "nope"}`, `{"ok": "no longer consuming from nope"}`},

		{"enable_events", ``, `{"error": "event dispatcher unavailable"}`},
		{"disable_events", ``, `{"error": "event dispatcher unavailable"}`},
		{"heartbeat", ``, `null`},
		{"heartbeat", `{"x": 1}`, `{"error": "TypeError(\"heartbeat() got an unexpected keyword argument 'x'\")"}`},
		{"election", `{"id": "1", "topic": "t"}`, `null`},

		{"query_task", `{"ids": "x"}`, `{}`},
		{"query_task", `{"ids": 5}`, `{}`},
		{"query_task", ``, `{"error": "TypeError(\"query_task() missing 1 required positional argument: 'ids'\")"}`},
		{"objgraph", `{"num": 1}`, `{"error": "ImportError('Requires the objgraph library')"}`},
		{"registered", ``, `["app.late", "app.sleep", "app.stubborn"]`},
		{"dump_tasks", `{"taskinfoitems": ["name", "acks_late", "_x", "nope", 5]}`, `["app.late [name=app.late acks_late=True]", "app.sleep [name=app.sleep acks_late=False]", "app.stubborn [name=app.stubborn acks_late=False]"]`},
		{"active", `{"safe": null}`, `[]`},
		{"dump_reserved", ``, `[]`},
		{"scheduled", ``, `[]`},
		{"conf", ``, `{}`},
	}
	inBubble(t, func(_ *testing.T, b *bench) {
		b.registerSleepers()
		b.start()
		for _, test := range tests {
			b.want(test.method, test.arguments, test.reply)
		}
	})
}

func TestHello(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *bench) {
		b.start()
		b.want("hello", `{"from_node": "celery@test"}`, `null`)
		b.want("hello", `{"from_node": "a@b"}`, `{"clock": 3, "revoked": []}`)
		b.want("hello", `{"from_node": "a@b", "revoked": {"r1": [1.5, "r1"], "r2": 3.0}}`, `{"clock": 5, "revoked": ["r1", "r2"]}`)
		b.want("hello", `{"from_node": "a@b", "revoked": ["r3"]}`, `{"clock": 7, "revoked": ["r1", "r2", "r3"]}`)
		b.want("hello", `{"from_node": "a@b", "revoked": 5}`, `{"error": "TypeError(\"'int' object is not iterable\")"}`)
		b.want("hello", ``, `{"error": "TypeError(\"hello() missing 1 required positional argument: 'from_node'\")"}`)
		b.want("dump_revoked", ``, `["r1", "r2", "r3"]`)
		b.wantLog("sync with a@b")
	})
}

func TestAddressing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		tests := []struct {
			destination      []string
			pattern, matcher string
			want             bool
		}{
			{nil, "", "", true},
			{[]string{}, "", "", true},
			{[]string{"other@test", node}, "", "", true},
			{[]string{"celery"}, "", "", false},
			{[]string{"other@test"}, "c*", "glob", false},
			{nil, "c*@*", "glob", true},
			{nil, "[a-c]?lery@test", "glob", true},
			{nil, "[!x]elery@test", "glob", true},
			{nil, "[celery@test", "glob", false},
			{nil, "celery", "glob", false},
			{nil, "celery", "pcre", true},
			{nil, "elery", "pcre", false},
			{nil, `celery@\w+$`, "pcre", true},
			{nil, "c*", "", true},
			{nil, "*", "nosuch", false},
			{nil, "(", "pcre", false},
		}
		for _, test := range tests {
			b.request(protocol.ControlRequest{Method: "ping", Destination: test.destination, Pattern: test.pattern, Matcher: test.matcher})
			if got := b.reply() != ""; got != test.want {
				t.Errorf("%q %q %q: answered %v, want %v", test.destination, test.pattern, test.matcher, got, test.want)
			}
		}
	})
}

// What cannot be read is logged, and the next request is answered.
func TestGarbage(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *bench) {
		b.start()
		message := (&protocol.ControlRequest{Method: "ping"}).Encode()
		message.Body = append([]byte("!"), message.Body...)
		b.broadcast(message)
		message = (&protocol.ControlRequest{Method: "ping"}).Encode()
		message.ContentType = "application/x-yaml"
		b.broadcast(message)
		bad := protocol.ControlRequest{Method: "ping", Arguments: []byte("[1]")}
		b.broadcast(bad.Encode())
		b.broadcast((&protocol.ControlRequest{}).Encode())
		b.wantLog("Cannot decode message: cannot decode body: not a JSON object")
		b.wantLog("Cannot decode message: Refusing to deserialize untrusted content of type yaml (application/x-yaml)")
		b.wantLog("Cannot decode message: cannot decode body.arguments: not a JSON object")
		b.wantLog("Cannot decode message: cannot decode body.method: missing")
		b.want("ping", "", `{"ok": "pong"}`)
	})
}

// Nobody hears a reply that is not wanted, and none is left where nobody waits.
func TestNoReply(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		b.broadcast((&protocol.ControlRequest{Method: "revoke", Arguments: []byte(`{"task_id": "a"}`)}).Encode())
		gone := protocol.ControlRequest{
			Method: "ping", Ticket: "t", ReplyTo: &protocol.ControlAddress{Exchange: "reply.celery.pidbox", RoutingKey: "gone"},
		}
		b.broadcast(gone.Encode())
		if n := b.broker.Len(oid + ".reply.celery.pidbox"); n != 0 {
			t.Errorf("%d replies", n)
		}
		b.want("revoked", "", `["a"]`)
	})
}

func TestOwnCommands(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.RegisterCommand("greet", func(ctx context.Context, name string, times int) string {
			return fmt.Sprintf("%s greets %s %d times", control.Worker(ctx).Hostname(), name, times)
		}, tasks.Params("name, times=1"))
		b.reg.RegisterCommand("broken", func() error { return tasks.Raise("shop.errors.Broken", "no", 7) })
		b.reg.RegisterCommand("panics", func() { panic("oh") })
		b.reg.RegisterCommand("ends", func() { runtime.Goexit() })
		b.reg.RegisterCommand("unwritable", func() any { return make(chan int) })
		b.reg.RegisterCommand("ping", func() string { return "mine" }, tasks.Params(""))
		b.start()
		b.want("greet", `{"name": "Jo"}`, `"celery@test greets Jo 1 times"`)
		b.want("greet", ``, `{"error": "TypeError(\"greet() missing 1 required positional argument: 'name'\")"}`)
		b.want("broken", ``, `{"error": "Broken('no', 7)"}`)
		b.want("panics", ``, `{"error": "RuntimeError('oh')"}`)
		b.want("ends", ``, `{"error": "WorkerLostError('Worker exited prematurely: the handler ended its goroutine.')"}`)
		b.want("unwritable", ``, `{"error": "Exception('Object of type chan int is not JSON serializable')"}`)
		b.want("ping", ``, `"mine"`)
		b.wantLog("pidbox command error: Broken('no', 7)")
	})
}

// Replies are written as the worker writes its messages (task_serializer).
func TestReplySerializer(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *bench) {
		b.cfg.TaskSerializer, b.cfg.AcceptContent = "msgpack", []string{"json", "msgpack"}
		b.reg.RegisterCommand("now", func() time.Time { return time.Unix(0, 0) })
		b.start()
		b.want("ping", "", `{"ok": "pong"}`)
		if reply := b.call("now", ""); !strings.HasPrefix(reply, `{"error": "EncodeError(`) {
			b.t.Errorf("now = %s", reply)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := control.New(control.Config{})
	if want := "control: Worker is required\ncontrol: Broker is required"; err == nil || err.Error() != want {
		t.Errorf("New: %v, want %s", err, want)
	}
}
