package tasks_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/taskstest"
	"github.com/apium/apium/worker"
)

// published is a registry with tasks that are published in their own way, and the routes for
// them. Celery 5.7 sends these as the tests here expect, with the same attributes and routes.
func published() (reg *tasks.Registry, routes func(string) canvas.Options) {
	reg = tasks.NewRegistry()
	reg.Register("w.both", func(any) {}, tasks.Params("x=None"),
		tasks.Queue("attr"), tasks.Priority(3), tasks.Expires(time.Minute), tasks.IgnoreResult(true))
	reg.Register("w.pri", func() {}, tasks.Params(""), tasks.Priority(4))
	reg.Register("w.odd", func() {}, tasks.Params(""), tasks.Serializer("odd"))
	reg.Register("w.packed", func() {}, tasks.Params(""), tasks.Compression("odd"))
	reg.Register("w.keyed", func() {}, tasks.Params(""), tasks.RoutingKey("k"), tasks.Publishing(canvas.Exchange("e")))
	return reg, func(task string) canvas.Options {
		if task == "w.both" || task == "w.plain" {
			return canvas.Options{canvas.Queue("routed"), canvas.Priority(7)}
		}
		return nil
	}
}

type sentAs struct {
	exchange, key string
	priority      int
	expires       time.Duration
	ignored       bool
}

func howSent(task *protocol.Task) sentAs {
	s := sentAs{exchange: task.Exchange, key: task.RoutingKey, priority: task.Priority}
	if !task.Expires.IsZero() {
		s.expires = time.Until(task.Expires).Round(time.Second)
	}
	s.ignored = task.IgnoreResult != nil && *task.IgnoreResult
	return s
}

func TestHowTasksArePublished(t *testing.T) {
	t.Parallel()
	reg, routes := published()
	var sent *protocol.Task
	var queues membroker.Broker
	c, err := client.New(client.Config{
		Publisher: queues.Publisher(), Route: routes, AfterPublish: func(_ context.Context, task *protocol.Task) { sent = task },
	})
	if err != nil {
		t.Fatal(err)
	}
	known := c.Knowing(reg)
	if _, err := c.Send(t.Context(), canvas.Sig("w.both", 1, 2)); err != nil || howSent(sent) != (sentAs{key: "routed", priority: 7}) {
		t.Errorf("by a client that does not know it: %+v, %v", howSent(sent), err)
	}
	both := canvas.Sig("w.both")
	for _, test := range []struct {
		name string
		sig  canvas.Signature
		opts []canvas.Option
		want sentAs
	}{
		{"own", both, nil, sentAs{key: "attr", priority: 3, expires: time.Minute, ignored: true}},
		{
			"the call's", both,
			[]canvas.Option{canvas.Queue("call"), canvas.Priority(1), canvas.Expires(5 * time.Second), canvas.IgnoreResult(false)},
			sentAs{key: "call", priority: 1, expires: 5 * time.Second},
		},
		{"the signature's", both.Set(canvas.Queue("sig")), nil, sentAs{key: "sig", priority: 3, expires: time.Minute, ignored: true}},
		{
			"none", both.Set(canvas.Opt("queue", nil), canvas.Opt("priority", nil)), nil,
			sentAs{key: "routed", priority: 7, expires: time.Minute, ignored: true},
		},
		{"the route's", canvas.Sig("w.plain"), nil, sentAs{key: "routed", priority: 7}},
		{"neither", canvas.Sig("w.pri"), nil, sentAs{key: "celery", priority: 4}},
	} {
		if _, err := known.Send(t.Context(), test.sig, test.opts...); err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if got := howSent(sent); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}

		run := taskstest.Apply(t, sending(reg, test.sig, test.opts...), canvas.Sig("w.send"), taskstest.Configure(func(c *worker.Config) { c.Route = routes }))
		if run.Result(nil); len(run.Published()) != 1 || howSent(run.Published()[0]) != test.want {
			t.Errorf("%s, from a worker: got %+v, want %+v", test.name, run.Published(), test.want)
		}
	}
	for task, want := range map[string]string{
		"w.odd": "odd", "w.packed": "odd", "w.pri": "pri() takes 0 positional arguments but 1 was given",
	} {
		sig := canvas.Sig(task)
		if task == "w.pri" {
			sig = canvas.Sig(task, 1)
		}
		if _, err := known.Send(t.Context(), sig); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", task, err, want)
		}
	}
	if opts, ok := reg.Publishing("w.keyed"); !ok || len(opts) != 2 {
		t.Errorf("w.keyed: %v, %t", opts, ok)
	}
}

// sending is a registry with a task that sends.
func sending(reg *tasks.Registry, sig canvas.Signature, opts ...canvas.Option) *tasks.Registry {
	reg = reg.Clone()
	reg.Register("w.send", func(ctx context.Context) error {
		_, err := tasks.Send(ctx, sig, opts...)
		return err
	})
	return reg
}

// A definition is sent as it says, whether the client knows it or not; what annotations say of it
// goes first where a worker publishes it.
func TestHowDefinitionsArePublished(t *testing.T) {
	t.Parallel()
	task := tasks.Define[int, int]("w.typed", func(_ context.Context, n int) (int, error) { return n, nil }, tasks.Queue("own"), tasks.Priority(3))
	var sent *protocol.Task
	var queues membroker.Broker
	c, err := client.New(client.Config{Publisher: queues.Publisher(), AfterPublish: func(_ context.Context, task *protocol.Task) { sent = task }})
	if err != nil {
		t.Fatal(err)
	}
	for want, opts := range map[sentAs][]canvas.Option{
		{key: "own", priority: 3}: nil, {key: "call", priority: 3}: {canvas.Queue("call")},
	} {
		if _, err := task.Delay(t.Context(), c, 1, opts...); err != nil || howSent(sent) != want {
			t.Errorf("got %+v, %v, want %+v", howSent(sent), err, want)
		}
	}
	reg := tasks.NewRegistry()
	task.Register(reg)
	run := taskstest.Apply(t, sending(reg, task.S(1)), canvas.Sig("w.send"), taskstest.Configure(func(c *worker.Config) {
		c.Annotations = []map[string]tasks.Options{{"w.typed": {Publishing: canvas.Options{canvas.Queue("annotated")}}}}
		c.Defaults.Publishing = canvas.Options{canvas.Priority(9), canvas.Expires(time.Hour)}
	}))
	if want := (sentAs{key: "annotated", priority: 3, expires: time.Hour}); len(run.Published()) != 1 || howSent(run.Published()[0]) != want {
		t.Errorf("got %+v, want %+v", run.Published(), want)
	}
}
