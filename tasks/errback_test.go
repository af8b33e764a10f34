package tasks_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/taskstest"
)

// onError is an error callback with an argument of its own, and a task that fails.
func onError() *tasks.Registry {
	reg := tasks.NewRegistry()
	reg.Register("shop.on_error", func(ctx context.Context, failed tasks.Failure, to string, copies ...string) string {
		exc := "nothing"
		if failed.Exception != nil {
			exc = failed.Exception.Repr()
		}
		traceback := strings.TrimSpace(failed.Traceback[strings.LastIndexByte(strings.TrimSpace(failed.Traceback), '\n')+1:])
		told := fmt.Sprintf("%s: %s, %s; to %s %v", failed.Request.ID, exc, traceback, to, copies)
		tasks.Logger(ctx).Info(told)
		return told
	}, tasks.Errback(), tasks.Params("request, exc, traceback, to='root', *copies"))
	reg.Register("shop.plain", func(failed tasks.Failure) string { return failed.Request.ID }, tasks.Errback())
	reg.Register("shop.fail", func() error { return tasks.Raise("ValueError", "bad") })
	return reg
}

// As an error callback it gets the failure, and what the signature has besides.
func TestErrbackWithArguments(t *testing.T) {
	t.Parallel()
	for want, errback := range map[string]canvas.Signature{
		"it: ValueError('bad'), ValueError: bad; to root []":    canvas.Sig("shop.on_error"),
		"it: ValueError('bad'), ValueError: bad; to ann [b c]":  canvas.Sig("shop.on_error", "ann", "b", "c"),
		"it: ValueError('bad'), ValueError: bad; to bob []":     canvas.Sig("shop.on_error").Kw(map[string]any{"to": "bob"}),
		"it: ValueError('bad'), ValueError: bad; to carol []":   canvas.Sig("shop.on_error", 1, 2, 3, "carol").Immutable(),
		"unexpected keyword argument 'nobody'":                  canvas.Sig("shop.on_error").Kw(map[string]any{"nobody": "bob"}),
		"missing 2 required positional arguments: 'exc' and 't": canvas.Sig("shop.on_error", 1).Immutable(),
	} {
		run := taskstest.Apply(t, onError(), canvas.Sig("shop.fail").Set(canvas.TaskID("it")).LinkError(errback))
		if exc := run.Exception(); exc == nil || exc.Type != "ValueError" || !strings.Contains(run.Log(), want) || len(run.Published()) != 0 {
			t.Errorf("want %s; the task failed with %v, published %v, log:\n%s", want, exc, run.Published(), run.Log())
		}
	}
}

// Called like any other it returns a result, and its arguments are what the caller says.
func TestErrbackAsAnOrdinaryTask(t *testing.T) {
	t.Parallel()
	parent := canvas.Opt("parent_id", "it")
	for _, test := range []struct {
		sig  canvas.Signature
		want string
	}{
		{canvas.Sig("shop.on_error", "an-id", "bad", "tb", "ann"), "an-id: Exception('bad'), tb; to ann []"},
		{
			canvas.Sig("shop.on_error", map[string]any{"id": "an-id", "task": "a.b"}, map[string]any{"exc_type": "KeyError", "exc_message": []any{"k"}, "exc_module": "builtins"}, nil),
			"an-id: KeyError('k'), ; to root []",
		},
		{canvas.Sig("shop.on_error", nil).Kw(map[string]any{"exc": 1, "traceback": 2}), ": nothing, ; to root []"},
		{canvas.Sig("shop.on_error", 1, 2), "TypeError: on_error() missing 1 required positional argument: 'traceback'"},
		{canvas.Sig("shop.on_error", "it", "ann", "b").Set(parent), "it: nothing, ; to ann [b]"}, // from a worker that does not know it
		{canvas.Sig("shop.on_error", "it"), "it: nothing, ; to root []"},
		{canvas.Sig("shop.plain", "it", "more", 1).Kw(map[string]any{"x": 1}), "it"},
		{canvas.Sig("shop.plain"), ""},
	} {
		run := taskstest.Apply(t, onError(), test.sig)
		got := ""
		if exc := run.Exception(); exc != nil {
			got = exc.Error()
		} else {
			run.Result(&got)
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.sig.Append(nil), got, test.want)
		}
	}
}

func TestErrbackThatCannotBe(t *testing.T) {
	t.Parallel()
	type failure = tasks.Failure
	for want, test := range map[string]struct {
		fn     any
		params string
	}{
		"an Errback is a function that takes a tasks.Failure, not int":            {5, ""},
		"takes a tasks.Failure, first or after a context, and func(int) does not": {func(int) {}, ""},
		"needs Params: (request, exc, traceback, …)":                              {func(failure, int) {}, ""},
		"the first three parameters of an Errback are":                            {func(failure, int) {}, "request, x"},
		"Params names 5 parameters":                                               {func(failure, int) {}, "request, exc, traceback, x, y"},
		"parameter a appears twice":                                               {func(failure, int) {}, "a, a, b, c"},
		"parameter 4, chan int, cannot take":                                      {func(failure, chan int) {}, "a, b, c, d"},
	} {
		opts := []tasks.Option{tasks.Errback()}
		if test.params != "" {
			opts = append(opts, tasks.Params(test.params))
		}
		if err := tasks.NewRegistry().TryRegister("t", test.fn, opts...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T, %q: %v, want %s", test.fn, test.params, err, want)
		}
	}
}

func TestFailedID(t *testing.T) {
	t.Parallel()
	reg := onError()
	errback, _ := reg.Lookup("shop.on_error")
	other, _ := reg.Lookup("shop.fail")
	for _, test := range []struct {
		entry        *tasks.Entry
		args, parent string
		want         string
	}{
		{errback, `["it"]`, "", "it"},
		{errback, `["it", 1]`, "it", "it"},
		{errback, `["it", 1]`, "an-id", ""},
		{errback, `[5]`, "", ""},
		{errback, `[]`, "", ""},
		{other, `["it"]`, "it", ""},
	} {
		id, ok := test.entry.FailedID(&tasks.Request{Task: &protocol.Task{Args: []byte(test.args), ParentID: test.parent}})
		if ok != (test.want != "") || ok && id != test.want {
			t.Errorf("%s %s of %s: %q, %t", test.entry.Name, test.args, test.parent, id, ok)
		}
	}
}
