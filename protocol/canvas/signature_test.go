package canvas_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// TestCopies changes signatures in every way and expects the ones they were made from
// to stay as they were.
func TestCopies(t *testing.T) {
	t.Parallel()
	cb := canvas.Sig("cb")
	base := canvas.Chord([]canvas.Signature{
		canvas.Chain(canvas.Sig("a", 1), canvas.Sig("b").Link(cb)), canvas.Group(canvas.Sig("c"), canvas.Sig("d")),
	}, canvas.Group(canvas.Sig("e"), canvas.Sig("f")))
	before := string(base.Append(nil))
	changed := base.Set(canvas.Queue("q")).Kw(map[string]any{"k": 1}).Immutable().Link(cb, base).LinkError(cb)
	_ = canvas.Chain(base, changed, base)
	for range 2 {
		if _, err := canvas.Apply(base, nil, nil, testEnvironment(nil, false)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := canvas.Replace(base, &protocol.Task{ID: "i"}, testEnvironment(nil, false)); err != nil {
		t.Fatal(err)
	}
	if after := string(base.Append(nil)); after != before {
		t.Errorf("changed:\n got %s\nwant %s", after, before)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 2, 3, 4, 5, 6, 0, time.UTC)
	sig := canvas.Sig("a").Set(
		canvas.TaskID("i"), canvas.Queue("q"), canvas.Exchange("x"), canvas.RoutingKey("k"), canvas.Priority(3),
		canvas.Countdown(time.Minute), canvas.ETA(at), canvas.Expires(1500*time.Millisecond), canvas.Shadow("s"),
		canvas.Headers(map[string]any{"h": 1}), canvas.IgnoreResult(true), canvas.TimeLimit(9*time.Second),
		canvas.SoftTimeLimit(8*time.Second), canvas.Serializer("json"), canvas.Compression("gzip"),
		canvas.ReplyTo("r"), canvas.Opt("mine", []int{1}), canvas.Queue("later"),
	)
	want := `{"task_id": "i", "queue": "later", "exchange": "x", "routing_key": "k", "priority": 3, "countdown": 60, ` +
		`"eta": {"__type__": "datetime", "__value__": "2030-02-03T04:05:06+00:00"}, "expires": 1.5, "shadow": "s", ` +
		`"headers": {"h": 1}, "ignore_result": true, "time_limit": 9, "soft_time_limit": 8, "serializer": "json", ` +
		`"compression": "gzip", "reply_to": "r", "mine": [1]}`
	if got := string(sig.Append(nil)); !strings.Contains(got, `"options": `+want) {
		t.Errorf("got %s\nwant options %s", got, want)
	}
	if sig.TaskID() != "i" || string(sig.Option("priority")) != "3" || sig.Option("none") != nil {
		t.Error("the options cannot be read")
	}
	step := published(t, sig, testEnvironment(nil, false))[0]
	if step.Serializer != "json" || step.Compression != "gzip" || string(step.Publication.Properties) != `{"mine": [1]}` {
		t.Errorf("published with %+v", step)
	}
	eta := canvas.Sig("a").Set(canvas.ETA(at), canvas.ExpiresAt(at.Add(time.Hour)))
	if task := published(t, eta, testEnvironment(nil, false))[0].Task; !task.ETA.Equal(at) || !task.Expires.Equal(at.Add(time.Hour)) {
		t.Errorf("eta %v, expires %v", task.ETA, task.Expires)
	}
}

func published(t *testing.T, sig canvas.Signature, env canvas.Environment) (all []canvas.Publish) {
	t.Helper()
	plan, err := canvas.Apply(sig, nil, nil, env)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range plan.Steps {
		if p, ok := step.(canvas.Publish); ok {
			all = append(all, p)
		}
	}
	return all
}

func TestDestination(t *testing.T) {
	t.Parallel()
	env := testEnvironment(nil, false)
	env.DefaultQueue = "main"
	env.Queue = func(name string) canvas.Destination {
		switch name {
		case "logs":
			return canvas.Destination{Exchange: "topics", ExchangeType: "topic", RoutingKey: "log.all"}
		case "all":
			return canvas.Destination{Exchange: "shout", ExchangeType: "fanout"}
		}
		return canvas.Destination{}
	}
	env.Task = func(name string) (canvas.Options, bool) {
		return canvas.Options{canvas.Queue("own"), canvas.Priority(5)}, name == "known"
	}
	for _, c := range []struct {
		task          string
		options       canvas.Options
		exchange, key string
	}{
		{"a", nil, "", "main"},
		{"known", nil, "", "own"},
		{"known", canvas.Options{canvas.Queue("q")}, "", "q"},
		{"a", canvas.Options{canvas.Queue("logs")}, "topics", "log.all"},
		{"a", canvas.Options{canvas.Queue("logs"), canvas.RoutingKey("log.x")}, "topics", "log.x"},
		{"a", canvas.Options{canvas.Queue("all")}, "shout", ""},
		{"routed.a", nil, "", "other"},
		{"routed.a", canvas.Options{canvas.Queue("q")}, "", "q"},
		{"keyed.a", nil, "ex", "k"},
	} {
		step := published(t, canvas.Sig(c.task).Set(c.options...), env)[0]
		if step.Task.Exchange != c.exchange || step.Task.RoutingKey != c.key {
			t.Errorf("%s %v: to %q %q, want %q %q", c.task, c.options, step.Task.Exchange, step.Task.RoutingKey, c.exchange, c.key)
		}
		if _, err := protocol.EncodeTask(step.Task, step.Publication); err != nil {
			t.Error(err)
		}
		known := c.task == "known"
		if (step.Task.IgnoreResult != nil) != known || (step.Task.Priority == 5) != known {
			t.Errorf("%s: ignore_result %v, priority %d", c.task, step.Task.IgnoreResult, step.Task.Priority)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]canvas.Signature{
		"nothing":           {},
		"changed nothing":   canvas.Signature{}.Set(canvas.Queue("q")),
		"argument":          canvas.Sig("a", make(chan int)),
		"keyword":           canvas.Sig("a").Kw(map[string]any{"k": make(chan int)}),
		"option":            canvas.Sig("a").Set(canvas.Opt("o", make(chan int))),
		"step":              canvas.Chain(canvas.Sig("a"), canvas.Sig("b", make(chan int))),
		"member":            canvas.Group(canvas.Sig("a"), canvas.Signature{}),
		"header":            canvas.Chord([]canvas.Signature{canvas.Sig("a", make(chan int))}, canvas.Sig("b")),
		"body":              canvas.Chord([]canvas.Signature{canvas.Sig("a")}, canvas.Signature{}),
		"callback":          canvas.Sig("a").Link(canvas.Signature{}),
		"errback":           canvas.Group(canvas.Sig("a")).LinkError(canvas.Sig("b", make(chan int))),
		"items":             canvas.Map(canvas.Sig("a"), make(chan int)),
		"mapped":            canvas.Map(canvas.Signature{}, []int{1}),
		"chunks of nothing": canvas.Chunks(canvas.Sig("a"), []int{1}, 0),
		"chunks of a text":  canvas.Chunks(canvas.Sig("a"), "abc", 1),
		"date":              canvas.Sig("a").Set(canvas.Opt("eta", "soon")),
		"expiry":            canvas.Sig("a").Set(canvas.Opt("expires", "never")),
	} {
		if plan, err := canvas.Apply(sig, nil, nil, testEnvironment(nil, false)); err == nil {
			t.Errorf("%s: no error, plan %+v", name, plan)
		}
	}
	link := canvas.Options{canvas.Opt("link", json.RawMessage(`{"task": "b"}`))}
	if _, err := canvas.Apply(canvas.Group(canvas.Sig("a")), nil, link, testEnvironment(nil, false)); err == nil {
		t.Error("a callback of a group: no error")
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		``, `null`, `[]`, `{}`, `{"task": "a"`, `{"task": "a", "args": {}}`, `{"task": "a", "args": "xy"}`,
		`{"task": "a", "kwargs": []}`, `{"task": "a", "options": 1}`, `{"task": "a", "subtask_type": "other"}`,
		`{"task": "c", "subtask_type": "chain"}`, `{"task": "c", "subtask_type": "group", "kwargs": {"tasks": [1]}}`,
		`{"task": "c", "subtask_type": "chord", "kwargs": {"header": [], "body": 5}}`,
		`{"task": "c", "subtask_type": "chord", "kwargs": {"header": ["a"], "body": {"task": "b"}}}`,
		`{"task": "m", "subtask_type": "xmap", "kwargs": {"it": []}}`,
		`{"task": "m", "subtask_type": "chunks", "kwargs": {"task": {"task": "a"}, "it": []}}`,
	} {
		if sig, err := canvas.Decode([]byte(raw)); err == nil {
			t.Errorf("%s: no error, read %s", raw, sig.Append(nil))
		}
	}
}

// TestDecodeKeeps reads what other versions write and expects nothing to be lost.
func TestDecodeKeeps(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`{"task": "a", "args": [1.0, NaN, 100000000000000000000], "kwargs": {"\u00e9": {"x":  [ ]}}, "options": {"mine": {"a": 1}}, "subtask_type": null, "immutable": true, "chord_size": 2, "more": null}`,
		`{"task": "a", "args": [], "kwargs": {}, "options": {"link": {"task": "b"}, "chord": null}, "subtask_type": null, "immutable": false}`,
	} {
		sig, err := canvas.Decode([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(sig.Append(nil)); got != raw {
			t.Errorf("\n got %s\nwant %s", got, raw)
		}
	}
}

func TestAccessors(t *testing.T) {
	t.Parallel()
	sig := canvas.Chord([]canvas.Signature{canvas.Sig("a", 1), canvas.Sig("b").Immutable()}, canvas.Sig("c"))
	body, ok := sig.Body()
	tasks := sig.Tasks()
	if sig.Task() != "celery.chord" || sig.SubtaskType() != "chord" || !ok || body.Task() != "c" || len(tasks) != 2 {
		t.Errorf("read %s %s %v %v %v", sig.Task(), sig.SubtaskType(), ok, body, tasks)
	}
	if string(tasks[0].Args()) != "[1]" || tasks[0].IsImmutable() || !tasks[1].IsImmutable() {
		t.Error("the members are not as they were made")
	}
	var none canvas.Signature
	if _, ok := none.Body(); ok || none.Task() != "" || none.Tasks() != nil {
		t.Error("the zero signature is not empty")
	}
}

// BenchmarkFollow is what happens after each task of a chain.
func BenchmarkFollow(b *testing.B) {
	embed := protocol.Embed{Chain: []byte(`[{"task": "last", "args": [], "kwargs": {}, "options": {"task_id": "2", "reply_to": "r"}, "subtask_type": null, "immutable": false}, ` +
		`{"task": "next", "args": [1], "kwargs": {}, "options": {"task_id": "1", "reply_to": "r"}, "subtask_type": null, "immutable": false}]`)}
	env := testEnvironment(&request{ID: "cur", RootID: "root"}, false)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canvas.Follow(embed, []byte("3"), env); err != nil {
			b.Fatal(err)
		}
	}
}

// A chord of Celery 4.4 that was read there twice: what its keyword arguments are wrapped
// in is no argument of its tasks.
func TestDecodeOldChord(t *testing.T) {
	t.Parallel()
	for kwargs, want := range map[string]string{
		`{}`:                             `{}`,
		`{"kwargs": {"kwargs": {}}}`:     `{}`,
		`{"kwargs": {"x": 1}}`:           `{"x": 1}`,
		`{"kwargs": 1}`:                  `{"kwargs": 1}`,
		`{"kwargs": {"a": 1}, "x": 1}`:   `{"kwargs": {"a": 1}, "x": 1}`,
		`{"kwargs": {"kwargs": [1, 2]}}`: `{"kwargs": [1, 2]}`,
	} {
		sig, err := canvas.Decode([]byte(`{"task": "celery.chord", "args": [], "kwargs": {"kwargs": ` + kwargs + `, ` +
			`"header": [{"task": "t", "args": [], "kwargs": {}, "options": {}}], ` +
			`"body": {"task": "t", "args": [], "kwargs": {}, "options": {}}}, "options": {}, "subtask_type": "chord"}`))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := canvas.Apply(sig, nil, nil, canvas.Environment{NewID: protocol.NewID})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range plan.Steps {
			if message, ok := step.(canvas.Publish); ok && string(message.Task.Kwargs) != want {
				t.Errorf("with %s a task of the header gets %s, want %s", kwargs, message.Task.Kwargs, want)
			}
		}
	}
}
