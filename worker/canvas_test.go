package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// trail is what tasks have run, in their order: "name args", and where they belong.
type trail struct {
	mu  sync.Mutex
	ran []string
}

// run notes that a task has run, and returns its arguments.
func (l *trail) run(name string, req *tasks.Request) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := name + " " + string(req.Args)
	for _, of := range []struct{ name, value string }{{"parent", req.ParentID}, {"root", req.RootID}, {"group", req.GroupID}} {
		switch {
		case of.value == "" || of.value == req.ID:
		case madeUp.MatchString(of.value):
			line += " " + of.name
		default:
			line += " " + of.name + "=" + of.value
		}
	}
	l.ran = append(l.ran, line)
	return json.RawMessage(req.Args), nil
}

func (l *trail) want(t *testing.T, lines ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.ran, lines) {
		t.Errorf("ran:\n%s\nwant:\n%s", strings.Join(l.ran, "\n"), strings.Join(lines, "\n"))
	}
}

// echoes registers tasks that return their arguments, and shows which have run.
func (b *bench) echoes(names ...string) *trail {
	l := &trail{}
	for _, name := range names {
		b.reg.Register(name, tasks.HandlerFunc(func(_ context.Context, req *tasks.Request) (any, error) { return l.run(name, req) }))
	}
	return l
}

var madeUp = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// record returns the record of a task as it is stored, without the time, with dots for a
// traceback and ID for what was made up; "" if there is none.
func (b *bench) record(id string) string {
	b.t.Helper()
	raw, err := b.results.Load(b.t.Context(), id)
	if err != nil {
		return ""
	}
	rec, err := protocol.DecodeResult(raw)
	if err != nil {
		b.t.Fatal(err)
	}
	rec.DateDone = time.Time{}
	if dots := "..."; rec.Traceback != nil && *rec.Traceback != "" {
		rec.Traceback = &dots
	}
	return madeUp.ReplaceAllString(strings.Replace(string(rec.Append(nil)), `, "date_done": null`, "", 1), "ID")
}

func (b *bench) wantRecord(id, want string) {
	b.t.Helper()
	if got := b.record(id); got != want {
		b.t.Errorf("record of %s:\n     %s\nwant %s", id, got, want)
	}
}

// sendChanged sends what no client of ours would: a task as change makes it.
func (b *bench) sendChanged(call canvas.Signature, change func(*protocol.Task)) {
	b.t.Helper()
	c, err := client.New(client.Config{
		Publisher: b.broker.Publisher(), Loader: b.results,
		BeforePublish: func(_ context.Context, task *protocol.Task) { change(task) },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := c.Send(b.t.Context(), call); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
}

func failing() error { return tasks.Raise("ValueError", "bad") }

const badValue = `{"exc_type": "ValueError", "exc_message": ["bad"], "exc_module": "builtins"}`

// What Celery's own tasks return (celery/app/builtins.py).
func TestBuiltinTasks(t *testing.T) {
	kw := func(pairs ...any) map[string]any {
		all := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i].(string)] = pairs[i+1]
		}
		return all
	}
	failure := func(module, class, text string) string {
		return fmt.Sprintf(`FAILURE {"exc_type": %q, "exc_message": [%q], "exc_module": %q}`, class, text, module)
	}
	echo, missing := canvas.Sig("app.echo"), canvas.Sig("app.missing")
	for _, tt := range []struct {
		name string
		call canvas.Signature
		want string
	}{
		{"accumulate", canvas.Sig("celery.accumulate", 1, "two"), `SUCCESS [1, "two"]`},
		{"accumulate nothing", canvas.Sig("celery.accumulate"), "SUCCESS []"},
		{"accumulate index", canvas.Sig("celery.accumulate", 1, 2).Kw(kw("index", 1)), "SUCCESS 2"},
		{"accumulate no index", canvas.Sig("celery.accumulate", 1, 2).Kw(kw("index", nil)), "SUCCESS [1, 2]"},
		{"accumulate from the end", canvas.Sig("celery.accumulate", 1, 2).Kw(kw("index", -2)), "SUCCESS 1"},
		{
			"accumulate beyond", canvas.Sig("celery.accumulate", 1).Kw(kw("index", 1)),
			failure("builtins", "IndexError", "tuple index out of range"),
		},
		{"backend_cleanup", canvas.Sig("celery.backend_cleanup"), "SUCCESS null"},
		{"chain", canvas.Sig("celery.chain", 1), failure("builtins", "NotImplementedError", "chain is not a real task")},
		{"map", canvas.Map(echo, []any{1, []int{2}}), "SUCCESS [[1], [[2]]]"},
		{"map of nothing", canvas.Map(echo, []any{}), "SUCCESS []"},
		{"starmap", canvas.Starmap(echo, []any{[]int{1, 2}, []int{}}), "SUCCESS [[1, 2], []]"},
		{"map that fails", canvas.Map(canvas.Sig("app.fail"), []int{1}), "FAILURE " + badValue},
		{"map of an unknown task", canvas.Map(missing, []int{1}), failure("celery.exceptions", "NotRegistered", "app.missing")},
		{"map that retries for a cause", canvas.Map(canvas.Sig("app.again"), []int{1}), "FAILURE " + badValue},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.echoes("app.echo")
				b.reg.Register("app.fail", func(int) error { return failing() })
				b.reg.Register("app.again", func(int) error { return tasks.Retry(failing()) })
				b.start()
				b.wantResult(b.send(tt.call), tt.want)
				b.wantQueued(0, 0)
			})
		})
	}
}

func TestMapsThatCannotGoOn(t *testing.T) {
	for _, tt := range []struct {
		name, task, kwargs, says string
	}{
		{"not a signature", "celery.map", `{"task": 1, "it": [1]}`, "not a JSON object"},
		{"a retry without a cause", "celery.map", `{"task": {"task": "app.again"}, "it": [1]}`, `"exc_type": "Retry"`},
		{"a result without a JSON form", "celery.map", `{"task": {"task": "app.channel"}, "it": [1]}`, "chan int"},
		{"chunks of no task", "celery.chunks", `{"task": {}, "it": [], "n": 1}`, "missing"},
		{"chunks of no size", "celery.chunks", `{"task": {"task": "app.again"}, "it": [[1]], "n": 0}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.again", func(int) error { return tasks.Retry(nil) })
				b.reg.Register("app.channel", func(int) any { return make(chan int) })
				b.start()
				kwargs := map[string]any{}
				for name, value := range pyjson.Members([]byte(tt.kwargs)) {
					kwargs[name] = json.RawMessage(value)
				}
				id := b.send(canvas.Sig(tt.task).Kw(kwargs))
				if got := b.result(id); !strings.HasPrefix(got, "FAILURE ") || !strings.Contains(got, tt.says) {
					t.Errorf("result = %s", got)
				}
			})
		})
	}
}

// A map ends with the worker: what is left of it is not begun with.
func TestMapEndsWithTheWorker(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.ShutdownTimeout = time.Second
		runs := 0
		b.reg.Register("app.slow", func(int) { runs++; time.Sleep(10 * time.Second) }, tasks.Params("n"))
		b.start()
		b.send(canvas.Map(canvas.Sig("app.slow"), []int{1, 2, 3}))
		b.stop()
		b.sleep(time.Minute)
		if runs != 1 {
			t.Errorf("%d items ran, want 1", runs)
		}
	})
}

// Celery's tasks that publish, as other producers send them.
func TestBuiltinTasksThatPublish(t *testing.T) {
	part := func(id string) canvas.Signature { return canvas.Sig("app.part", id).Set(canvas.TaskID(id)) }
	for _, tt := range []struct {
		name   string
		call   canvas.Signature
		record string
		ran    []string
	}{
		{
			"group", canvas.Sig("celery.group").Kw(map[string]any{
				"tasks": []any{part("a"), part("b")}, "result": []any{[]any{"the-group", nil}, []any{}}, "group_id": "the-group",
				"partial_args": []any{"first"},
			}),
			`{"status": "SUCCESS", "result": [["the-group", null], []], "traceback": null, "children": [[["the-group", null], []]], "task_id": "it"}`,
			[]string{
				`app.part ["first", "a"] parent=it root=it group=the-group`,
				`app.part ["first", "b"] parent=it root=it group=the-group`,
			},
		},
		{
			"group without a parent", canvas.Sig("celery.group").Kw(map[string]any{
				"tasks": []any{part("a")}, "result": []any{[]any{"the-group", nil}, []any{}}, "group_id": "the-group",
				"partial_args": []any{}, "add_to_parent": false,
			}),
			`{"status": "SUCCESS", "result": [["the-group", null], []], "traceback": null, "children": [], "task_id": "it"}`,
			[]string{`app.part ["a"] parent=it root=it group=the-group`},
		},
		{
			"chunks", canvas.Sig("celery.chunks").Kw(map[string]any{
				"task": canvas.Sig("app.part"), "it": []any{[]any{1}, []any{2}, []any{3}}, "n": 2,
			}), "", []string{"app.part [1] parent=it root=it group", "app.part [2] parent=it root=it group", "app.part [3] parent=it root=it group"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.Concurrency = 1
				l := b.echoes("app.part")
				b.start()
				b.send(tt.call.Set(canvas.TaskID("it")))
				if tt.record != "" {
					b.wantRecord("it", tt.record)
				}
				l.want(t, tt.ran...)
				b.wantQueued(0, 0)
			})
		})
	}
}

func TestChordAsATask(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Concurrency = 1
		l := b.echoes("app.part", "app.body")
		b.start()
		b.send(canvas.Sig("celery.chord").Set(canvas.TaskID("it")).Kw(map[string]any{
			"header": []any{canvas.Sig("app.part", "a"), canvas.Sig("app.part", "b").Set(canvas.TaskID("last"))},
			"body":   canvas.Sig("app.body", "own").Set(canvas.TaskID("body")), "partial_args": []any{"first"},
		}))
		l.want(t,
			`app.part ["first", "a"] parent=it root=it group`,
			`app.part ["first", "b"] parent=it root=it group`,
			`app.body [[["first", "a"], ["first", "b"]], "own"] parent=last root=it group`)
		b.wantResult("body", `SUCCESS [[["first", "a"], ["first", "b"]], "own"]`)
		if got := b.result("it"); !strings.HasPrefix(got, `SUCCESS [["body", [["`) {
			t.Errorf("the task's own result is %s", got)
		}
	})
}

// What Celery's tasks say to arguments that are no canvas.
func TestBuiltinTasksOfUnreadableCanvases(t *testing.T) {
	good := canvas.Sig("app.part")
	for name, call := range map[string]canvas.Signature{
		"group": canvas.Sig("celery.group").Kw(map[string]any{
			"tasks": []any{"x"}, "result": nil, "group_id": "g", "partial_args": []any{},
		}),
		"chord header": canvas.Sig("celery.chord").Kw(map[string]any{"header": []any{"x"}, "body": good}),
		"chord body":   canvas.Sig("celery.chord").Kw(map[string]any{"header": []any{good}, "body": "x"}),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				l := b.echoes("app.part")
				b.start()
				if got := b.result(b.send(call)); !strings.HasPrefix(got, "FAILURE ") {
					t.Errorf("result = %s", got)
				}
				l.want(t)
				b.wantQueued(0, 0)
			})
		})
	}
}
