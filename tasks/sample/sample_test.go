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
	if diff := cmp.Diff([]string{"demo.add", "demo.echo", "demo.fail", "demo.sleep"}, reg.Names()); diff != "" {
		t.Fatal(diff)
	}
	tests := []struct{ task, args, kwargs, want string }{
		{"demo.add", `[1, 2]`, `{}`, `3`},
		{"demo.add", `["你", "好"]`, `{}`, `"\u4f60\u597d"`},
		{"demo.add", `[1]`, `{"c": 2}`, "TypeError: add() got an unexpected keyword argument 'c'"},
		{"demo.add", `[]`, `{"x": 1, "y": 2.0}`, `3.0`},
		{"demo.add", `[0.5, 1]`, `{}`, `1.5`},
		{"demo.add", `[0.5, 0.5]`, `{}`, `1.0`},
		{"demo.add", `[true, true]`, `{}`, `2`},
		{"demo.add", `[9223372036854775807, 1]`, `{}`, `9223372036854775808`},
		{"demo.add", `[[1], ["x"]]`, `{}`, `[1, "x"]`},
		{"demo.add", `["a", 1]`, `{}`, `TypeError: can only concatenate str (not "int") to str`},
		{"demo.add", `[1.5, 1` + strings.Repeat("0", 400) + `]`, `{}`, "OverflowError: int too large to convert to float"},
		{"demo.add", `[[], null]`, `{}`, `TypeError: can only concatenate list (not "NoneType") to list`},
		{"demo.add", `[1, "a"]`, `{}`, "TypeError: unsupported operand type(s) for +: 'int' and 'str'"},
		{"demo.add", `[{}, 1.5]`, `{}`, "TypeError: unsupported operand type(s) for +: 'dict' and 'float'"},
		{"demo.echo", `[{"k": [null, 2.0, "é"]}]`, `{}`, `{"k": [null, 2.0, "\u00e9"]}`},
		{"demo.sleep", `[0]`, `{}`, `null`},
		{"demo.sleep", `[]`, `{"seconds": -1}`, "ValueError: sleep length must be non-negative"},
		{"demo.fail", `[]`, `{}`, "RuntimeError: failed on purpose"},
		{"demo.fail", `["no"]`, `{"exc_type": "KeyError"}`, "KeyError: no"},
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

func TestOnly(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	if sample.Only(reg) {
		t.Error("an empty registry holds only samples")
	}
	if sample.Register(reg); !sample.Only(reg) {
		t.Errorf("%q are not only samples", reg.Names())
	}
	if reg.Register("shop.add", sample.Add); sample.Only(reg) {
		t.Errorf("%q are only samples", reg.Names())
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
