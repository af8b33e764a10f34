package tasks_test

import (
	"context"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// pythonCall is what a call did in Celery: see scripts/capture_typeerrors.py.
type pythonCall struct {
	Params string
	Args   json.RawMessage
	Kwargs json.RawMessage
	Error  string
	Bound  json.RawMessage // what each parameter got
}

func loadCalls(tb testing.TB) []pythonCall {
	tb.Helper()
	raw, err := os.ReadFile("testdata/calls.json")
	if err != nil {
		tb.Fatal(err)
	}
	var golden struct{ Calls []pythonCall }
	if err := pyjson.Unmarshal(raw, &golden); err != nil {
		tb.Fatal(err)
	}
	if len(golden.Calls) < 1000 {
		tb.Fatalf("only %d calls in testdata/calls.json", len(golden.Calls))
	}
	return golden.Calls
}

// locals makes a Go function for a Python parameter list that returns what its
// parameters got, by name, as the recorded Python function does.
func locals(params string) any {
	var names []string
	var types []reflect.Type
	for text := range strings.SplitSeq(params, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(text), "=")
		switch {
		case name == "" || name == "/" || name == "*":
			continue
		case strings.HasPrefix(name, "**"):
			types = append(types, reflect.TypeFor[map[string]any]())
		case strings.HasPrefix(name, "*"):
			types = append(types, reflect.TypeFor[[]any]())
		default:
			types = append(types, reflect.TypeFor[any]())
		}
		names = append(names, strings.TrimLeft(name, "*"))
	}
	result := []reflect.Type{reflect.TypeFor[map[string]any]()}
	return reflect.MakeFunc(reflect.FuncOf(types, result, false), func(in []reflect.Value) []reflect.Value {
		got := map[string]any{}
		for i, v := range in {
			got[names[i]] = v.Interface()
		}
		return []reflect.Value{reflect.ValueOf(got)}
	}).Interface()
}

func TestCallsAsPython(t *testing.T) {
	t.Parallel()
	entries := map[string]*tasks.Entry{}
	for _, c := range loadCalls(t) {
		entry := entries[c.Params]
		if entry == nil {
			entry = register("shop.tasks.add", locals(c.Params), tasks.Params(c.Params))
			entries[c.Params] = entry
		}
		result, err := entry.Call(context.Background(), request(string(c.Args), string(c.Kwargs)))
		if c.Error != "" {
			if exc := exceptionOf(err); exc.Type != "TypeError" || exc.Module != "builtins" || err.Error() != c.Error {
				t.Errorf("add(%s) with %s %s:\nerror  %v\nPython %s", c.Params, c.Args, c.Kwargs, err, c.Error)
			}
			continue
		}
		if err != nil {
			t.Errorf("add(%s) with %s %s: error %v\nPython binds %s", c.Params, c.Args, c.Kwargs, err, c.Bound)
			continue
		}
		var want any
		if err := pyjson.Unmarshal(c.Bound, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(encode(t, want), encode(t, result)); diff != "" {
			t.Errorf("add(%s) with %s %s (-Python +Go):\n%s", c.Params, c.Args, c.Kwargs, diff)
		}
	}
}

// register returns the entry of a task registered alone.
func register(name string, fn any, opts ...tasks.Option) *tasks.Entry {
	reg := tasks.NewRegistry()
	reg.Register(name, fn, opts...)
	entry, _ := reg.Lookup(name)
	return entry
}

func request(args, kwargs string) *tasks.Request {
	return &tasks.Request{Task: &protocol.Task{ID: "an-id", Args: []byte(args), Kwargs: []byte(kwargs)}}
}

// exceptionOf is ExceptionOf, with an empty exception for no error.
func exceptionOf(err error) *protocol.Exception {
	if err == nil {
		return &protocol.Exception{}
	}
	return tasks.ExceptionOf(err)
}

func encode(tb testing.TB, v any) string {
	tb.Helper()
	text, err := pyjson.Append(nil, v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}
