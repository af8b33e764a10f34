package compat_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// pythonShop starts a Python worker with the canvas tasks and a Go client of it.
func pythonShop(t *testing.T) (*redisServer, app, *client.Client) {
	t.Helper()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), settings: map[string]any{"include": []string{"canvas_tasks"}}}
	a.startWorker(t)
	return server, a, newClient(t, server)
}

// TestClientCallsPython: a Go program calls Python tasks and reads what comes of it.
func TestClientCallsPython(t *testing.T) {
	t.Parallel()
	server, a, c := pythonShop(t)
	ctx := t.Context()
	if sum, err := client.Call[int](ctx, c, "tapp.add", 1, 2); err != nil || sum != 3 {
		t.Errorf("tapp.add: %d, %v", sum, err)
	}
	greeting := canvas.Sig("tapp.greet", "bob").Kw(map[string]any{"greeting": "yo"})
	if result, err := c.Send(ctx, greeting); err != nil {
		t.Error(err)
	} else if text, err := client.Get[string](ctx, result); err != nil || text != "yo bob!" {
		t.Errorf("tapp.greet: %q, %v", text, err)
	}
	for _, test := range []struct {
		task                  string
		args                  []any
		module, class, detail string
	}{
		{"tapp.fail", []any{"bad", 1}, "builtins", "ValueError", `["bad", 1]`},
		{"tapp.throw", []any{"shoperrors", "OutOfStock", "pen", 3}, "shoperrors", "OutOfStock", `["pen", 3]`},
		{"tapp.add", []any{1}, "builtins", "TypeError", `["add() missing 1 required positional argument: 'y'"]`},
		{"tapp.none_such", nil, "celery.exceptions", "NotRegistered", `["tapp.none_such"]`},
	} {
		_, err := client.Call[any](ctx, c, test.task, test.args...)
		var exception *protocol.Exception
		if !errors.As(err, &exception) {
			t.Errorf("%s: %v", test.task, err)
			continue
		}
		got := []string{exception.Module, exception.Type, string(exception.Message)}
		if diff := cmp.Diff([]string{test.module, test.class, test.detail}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.task, diff)
		}
		if traced := strings.Contains(exception.Traceback, "Traceback"); traced != (test.task != "tapp.none_such") {
			t.Errorf("%s: traceback %q", test.task, exception.Traceback)
		}
	}
	t.Run("canvases", func(t *testing.T) { canvasesInPython(t, c) })
	t.Run("groups", func(t *testing.T) { sharedGroups(t, a, c) })
	t.Run("revoke", func(t *testing.T) { revokeInPython(t, server, c) })
	t.Run("many waits", func(t *testing.T) { manyWaits(t, server, c) })
}

func add(args ...any) canvas.Signature { return canvas.Sig("tapp.add", args...) }

func canvasesInPython(t *testing.T, c *client.Client) {
	ctx := t.Context()
	same := canvas.Sig("tapp.same")
	for name, test := range map[string]struct {
		sig  canvas.Signature
		want string
	}{
		"chain":        {canvas.Chain(add(1, 2), add(10), add(100)), "113"},
		"group":        {canvas.Group(add(1, 1), canvas.Group(add(2, 2), add(3, 3))), "[2, 4, 6]"},
		"chord":        {canvas.Chord([]canvas.Signature{add(1, 1), add(2, 2)}, same), "[2, 4]"},
		"nested":       {canvas.Chain(add(1, 1), canvas.Group(add(1), canvas.Chain(add(2), add(3))), same), "[3, 7]"},
		"empty header": {canvas.Chord(nil, same), "[]"},
		"map":          {canvas.Map(same, []int{1, 2}), "[1, 2]"},
		"starmap":      {canvas.Starmap(add(), [][]int{{1, 2}, {3, 4}}), "[3, 7]"},
		"chunks":       {canvas.Chunks(add(), [][]int{{1, 2}, {3, 4}, {5, 6}}, 2), "[[3, 7], [11]]"},
	} {
		result, err := c.Send(ctx, test.sig)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := client.Get[json.RawMessage](ctx, result); err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, test.want)
		}
	}
	result, err := c.Send(ctx, canvas.Chord([]canvas.Signature{add(1, 1), canvas.Sig("tapp.fail", "no")}, same))
	if err != nil {
		t.Fatal(err)
	}
	var exception *protocol.Exception
	if err := result.Get(ctx, nil); !errors.As(err, &exception) || exception.Type != "ChordError" || !strings.Contains(exception.Error(), "raised ValueError('no')") {
		t.Errorf("a chord with a failed member: %v", err)
	}
	if err := result.Parent().Get(ctx, nil); !errors.As(err, &exception) || exception.Type != "ValueError" {
		t.Errorf("its header: %v", err)
	}
	result, err = c.Send(ctx, canvas.Sig("canvas.spawn").Kw(map[string]any{"tag": "go|spawn|a"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Get(ctx, nil); err != nil {
		t.Fatal(err)
	}
	children, err := result.Children(ctx)
	if err != nil || len(children) != 3 || children[1].Group() == nil {
		t.Fatalf("children %v, %v", children, err)
	}
	var pair [][]string
	if err := children[1].Get(ctx, &pair); err != nil || !cmp.Equal(pair, [][]string{{"a.2"}, {"a.3"}}) {
		t.Errorf("the group a task has sent: %v, %v", pair, err)
	}
}

// sharedGroups: a group saved on one side is restored on the other.
func sharedGroups(t *testing.T, a app, c *client.Client) {
	ctx := t.Context()
	sent, err := c.Send(ctx, canvas.Group(add(1, 2), add(3, 4)))
	if err != nil {
		t.Fatal(err)
	}
	group := sent.Group()
	if err := group.Save(ctx); err != nil {
		t.Fatal(err)
	}
	var seen struct {
		ID     string
		Values []int
		Count  int
	}
	a.run(t, &seen, `
import json, sys, tapp
from celery import group
from celery.result import GroupResult
theirs = GroupResult.restore(sys.argv[1], app=tapp.app)
values = theirs.get(timeout=tapp.PATIENCE)
ours = group(tapp.add.s(5, 6), tapp.fail.s("x")).apply_async()
ours.save()
print(json.dumps({"id": ours.id, "values": values, "count": theirs.completed_count()}))
`, group.ID)
	if !cmp.Equal(seen.Values, []int{3, 7}) || seen.Count != 2 {
		t.Errorf("Python restores %v, %d done", seen.Values, seen.Count)
	}
	theirs, err := c.RestoreGroup(ctx, seen.ID)
	if err != nil {
		t.Fatal(err)
	}
	var exception *protocol.Exception
	if err := theirs.Join(ctx, nil); !errors.As(err, &exception) || exception.Error() != "ValueError: x" {
		t.Errorf("Join of Python's group: %v", err)
	}
	if n, err := theirs.CompletedCount(ctx); err != nil || n != 1 {
		t.Errorf("%d tasks have succeeded, %v", n, err)
	}
}

// revokeInPython: a Python worker hears our revocation, of a task that runs and of one
// that waits.
func revokeInPython(t *testing.T, server *redisServer, c *client.Client) {
	ctx := t.Context()
	waits, err := c.Send(ctx, add(1, 2), canvas.Countdown(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	runs, err := c.Delay(ctx, "tapp.work", "revoked", 60)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the task runs", func() bool { return slices.Contains(server.journalKeys(t, "started"), "revoked") })
	if err := runs.Revoke(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := waits.Revoke(ctx, true); err != nil {
		t.Fatal(err)
	}
	var exception *protocol.Exception
	if err := runs.Get(ctx, nil); !errors.As(err, &exception) || exception.Type != "TaskRevokedError" {
		t.Errorf("a task terminated: %v", err)
	}
	if state, err := runs.State(ctx); err != nil || state != protocol.Revoked {
		t.Errorf("its state is %s, %v", state, err)
	}
	if err := waits.Get(ctx, nil); !errors.As(err, &exception) || exception.Type != "TaskRevokedError" {
		t.Errorf("a task revoked before its time: %v", err)
	}
}

// manyWaits: a thousand results are waited for on one connection.
func manyWaits(t *testing.T, server *redisServer, c *client.Client) {
	ctx := t.Context()
	sigs := make([]canvas.Signature, 1000)
	for i := range sigs {
		sigs[i] = add(i, i)
	}
	results, err := c.SendAll(ctx, sigs...)
	if err != nil {
		t.Fatal(err)
	}
	var waits sync.WaitGroup
	for i, result := range results {
		waits.Go(func() {
			if sum, err := client.Get[int](ctx, result); err != nil || sum != 2*i {
				t.Errorf("result %d: %d, %v", i, sum, err)
			}
		})
	}
	list, err := redis.String(server.do(t, "CLIENT", "LIST", "TYPE", "pubsub"), nil)
	if n := strings.Count(list, "\n"); err != nil || n > 8 { // ours, and the Python worker's own
		t.Errorf("%d connections are subscribed, %v", n, err)
	}
	waits.Wait()
}

// TestClientMessages compares what our client publishes with what Celery does, byte for
// byte but for ids, times and who has sent it.
func TestClientMessages(t *testing.T) {
	t.Parallel()
	options := map[string]map[string]any{
		"queue": {"queue": "hipri"}, "priority": {"priority": 6}, "countdown": {"countdown": 10}, "expires": {"expires": 60},
		"shadow": {"shadow": "alias"}, "limits": {"time_limit": 60, "soft_time_limit": 1.5}, "headers": {"headers": map[string]any{"trace": "ü"}},
		"ignore_result": {"ignore_result": true}, "reply_to": {"reply_to": "there"}, "task_id": {"task_id": "my-id"},
		"properties": {"user_id": "me", "app_id": "shop"}, "delivery_mode": {"delivery_mode": 1}, "retries": {"retries": 2},
		"exchange": {"exchange": "celery", "routing_key": "celery"},
	}
	var cases []canvasCase
	for name, o := range options {
		e := echo(1, "ü", 2.5, nil)
		e.Options = o
		cases = append(cases, canvasCase{Name: "option " + name, Canvas: e.name()})
	}
	for name, e := range shapes() {
		cases = append(cases, canvasCase{Name: name, Canvas: e.name()})
	}
	python, ours := startRedis(t), startRedis(t)
	sendFromPython(t, app{broker: python.url(0), journal: python.url(1)}, cases)
	sendFromGo(t, ours, cases)
	want, got := publishedMessages(t, python, "python"), publishedMessages(t, ours, "go")
	for _, kase := range cases {
		if len(want[kase.Name]) == 0 {
			t.Errorf("%s: there is no message", kase.Name)
		}
	}
	for name := range want {
		if diff := cmp.Diff(want[name], got[name]); diff != "" {
			t.Errorf("%s (-Python +Go):\n%s", name, diff)
		}
	}
	if len(got) != len(want) {
		t.Errorf("messages of %d cases, want %d", len(got), len(want))
	}
}

var (
	anyID  = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	varied = regexp.MustCompile(`"(lang|origin|eta|expires|expiration|ignore_result|delivery_tag)": ("[^"]*"|null|false|true)`)
)

// publishedMessages returns the messages in all queues by case, with ids numbered.
func publishedMessages(t *testing.T, server *redisServer, producer string) map[string][]string {
	t.Helper()
	messages := map[string][]string{}
	for _, key := range server.strings(t, "KEYS", "*") {
		if server.do(t, "TYPE", key) != "list" {
			continue
		}
		for _, raw := range slices.Backward(server.strings(t, "LRANGE", key, 0, -1)) {
			task, err := envelopetest.DecodeTask([]byte(raw), protocol.Accept{})
			if err != nil {
				t.Fatal(err)
			}
			message := envelopetest.Open([]byte(raw))
			outside := strings.Replace(raw, string(message.Body), "…", 1)
			text := fmt.Sprintf("%s %s %s %s %s", key, outside, task.Args, task.Kwargs, embedded(t, task))
			_, tag, ok := strings.Cut(string(task.Kwargs), `"tag": "`+producer+"|")
			if !ok {
				_, tag, _ = strings.Cut(text, `"tag": "`+producer+"|")
			}
			name, _, _ := strings.Cut(tag, "|")
			// A signature made in Python has a tuple, which shows where it is an argument.
			text = strings.ReplaceAll(text, "'args': ()", "'args': []")
			text = varied.ReplaceAllStringFunc(strings.ReplaceAll(text, producer+"|", ""), func(member string) string {
				// Whether it is there counts.
				key, value, _ := strings.Cut(member, ": ")
				if value == "false" { // send_task leaves to the worker what a known task says
					value = "null"
				}
				return key + ": " + strings.Map(quotes, value)
			})
			messages[name] = append(messages[name], text)
		}
	}
	for name, list := range messages {
		numbers := map[string]string{}
		for i, text := range list {
			list[i] = anyID.ReplaceAllStringFunc(text, func(id string) string {
				if numbers[id] == "" {
					numbers[id] = fmt.Sprintf("id-%d", len(numbers))
				}
				return numbers[id]
			})
		}
		messages[name] = list
	}
	return messages
}

// embedded is what follows the task, with the members of signatures in order.
func embedded(t *testing.T, task *protocol.Task) (text string) {
	t.Helper()
	for _, raw := range [][]byte{task.Embed.Callbacks, task.Embed.Errbacks, task.Embed.Chain, task.Embed.Chord} {
		var value any
		if raw != nil {
			if err := json.Unmarshal(raw, &value); err != nil {
				t.Fatal(err)
			}
		}
		ordered, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		text += " " + strings.ReplaceAll(string(ordered), `":"`, `": "`)
	}
	return text
}

// quotes keeps the form of a text: its quotes, and that there is something.
func quotes(r rune) rune {
	if r == '"' {
		return r
	}
	return -1
}
