package sample_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/sample"
)

func TestTasks(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	sample.Register(reg)
	if diff := cmp.Diff([]string{"app.tasks.test", "tasks.add", "tasks.echo", "tasks.fail", "tasks.sleep"}, reg.Names()); diff != "" {
		t.Fatal(diff)
	}
	tests := []struct{ task, args, kwargs, want string }{
		{"app.tasks.test", `[1, 2]`, `{}`, `3`},
		{"app.tasks.test", `["你", "好"]`, `{}`, `"\u4f60\u597d"`},
		{"app.tasks.test", `[1]`, `{"c": 2}`, "TypeError: test() got an unexpected keyword argument 'c'"},
		{"tasks.add", `[]`, `{"x": 1, "y": 2.0}`, `3.0`},
		{"tasks.add", `[0.5, 1]`, `{}`, `1.5`},
		{"tasks.add", `[0.5, 0.5]`, `{}`, `1.0`},
		{"tasks.add", `[true, true]`, `{}`, `2`},
		{"tasks.add", `[9223372036854775807, 1]`, `{}`, `9223372036854775808`},
		{"tasks.add", `[[1], ["x"]]`, `{}`, `[1, "x"]`},
		{"tasks.add", `["a", 1]`, `{}`, `TypeError: can only concatenate str (not "int") to str`},
		{"tasks.add", `[1.5, 1` + strings.Repeat("0", 400) + `]`, `{}`, "OverflowError: int too large to convert to float"},
		{"tasks.add", `[[], null]`, `{}`, `TypeError: can only concatenate list (not "NoneType") to list`},
		{"tasks.add", `[1, "a"]`, `{}`, "TypeError: unsupported operand type(s) for +: 'int' and 'str'"},
		{"tasks.add", `[{}, 1.5]`, `{}`, "TypeError: unsupported operand type(s) for +: 'dict' and 'float'"},
		{"tasks.echo", `[{"k": [null, 2.0, "é"]}]`, `{}`, `{"k": [null, 2.0, "\u00e9"]}`},
		{"tasks.sleep", `[0]`, `{}`, `null`},
		{"tasks.sleep", `[]`, `{"seconds": -1}`, "ValueError: sleep length must be non-negative"},
		{"tasks.fail", `[]`, `{}`, "RuntimeError: failed on purpose"},
		{"tasks.fail", `["no"]`, `{"exc_type": "KeyError"}`, "KeyError: no"},
	}
	for _, test := range tests {
		entry, _ := reg.Lookup(test.task)
		result, err := entry.Call(context.Background(), request(test.args, test.kwargs))
		got := ""
		if err != nil {
			got = tasks.ExceptionOf(err).Type + ": " + err.Error()
		} else if text, err := pyjson.Append(nil, result); err != nil {
			t.Fatal(err)
		} else {
			got = string(text)
		}
		if got != test.want {
			t.Errorf("%s with %s %s: got %s, want %s", test.task, test.args, test.kwargs, got, test.want)
		}
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stopped)
	if err := sample.Sleep(ctx, 3600); !errors.Is(err, stopped) {
		t.Errorf("error %v", err)
	}
}

// What + says of each type comes from Python.
func TestAddNamesTypesAsPython(t *testing.T) {
	t.Parallel()
	for v, want := range map[any]string{
		nil: "'NoneType'", true: "'bool'", "x": "'str'", 1.5: "'float'",
		pyjson.Decimal("1"): "'decimal.Decimal'", pyjson.UUID{}: "'UUID'", pyjson.Date{}: "'datetime.date'",
	} {
		if _, err := sample.Add(map[string]any{}, v); err == nil || !strings.HasSuffix(err.Error(), "'dict' and "+want) {
			t.Errorf("{} + %v: %v", v, err)
		}
	}
}

func request(args, kwargs string) *tasks.Request {
	return &tasks.Request{Task: &protocol.Task{Args: []byte(args), Kwargs: []byte(kwargs)}}
}
