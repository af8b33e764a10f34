package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

type outOfStockError struct{ sku string }

func (e *outOfStockError) Error() string                { return "no more " + e.sku }
func (e *outOfStockError) PythonType() (string, string) { return "shop.errors", "OutOfStock" }

var _ tasks.PythonError = (*outOfStockError)(nil)

func TestExceptionOf(t *testing.T) {
	t.Parallel()
	const header = "Traceback (most recent call last):\n"
	remote := &protocol.Exception{Type: "KeyError", Module: "builtins", Message: []byte(`["x"]`), Traceback: "remote\n"}
	tests := []struct {
		err  error
		want protocol.Exception
	}{
		{errors.New("bad"), protocol.Exception{Type: "Exception", Module: "builtins", Message: []byte(`["bad"]`), Traceback: header + "Exception: bad\n"}},
		{errors.New(""), protocol.Exception{Type: "Exception", Module: "builtins", Message: []byte(`[""]`), Traceback: header + "Exception\n"}},
		{
			tasks.Raise("ValueError", "bad id"),
			protocol.Exception{Type: "ValueError", Module: "builtins", Message: []byte(`["bad id"]`), Traceback: header + "ValueError: bad id\n"},
		},
		{
			tasks.Raise("ValueError", ""),
			protocol.Exception{Type: "ValueError", Module: "builtins", Message: []byte(`[]`), Traceback: header + "ValueError\n"},
		},
		{
			fmt.Errorf("order 7%w", tasks.Raise("ValueError", "")),
			protocol.Exception{Type: "ValueError", Module: "builtins", Message: []byte(`["order 7"]`), Traceback: header + "ValueError: order 7\n"},
		},
		{
			tasks.Raise("shop.errors.OutOfStock", "x", 3, nil, 2.0),
			protocol.Exception{Type: "OutOfStock", Module: "shop.errors", Message: []byte(`["x", 3, null, 2.0]`), Traceback: header + "shop.errors.OutOfStock: ('x', 3, None, 2.0)\n"},
		},
		{
			tasks.Raise("ValueError", "x", func() {}),
			protocol.Exception{Type: "ValueError", Module: "builtins", Traceback: header + "ValueError: x\n"},
		},
		{
			fmt.Errorf("order 7: %w", tasks.Raise("ValueError", "bad id")),
			protocol.Exception{Type: "ValueError", Module: "builtins", Message: []byte(`["order 7: bad id"]`), Traceback: header + "ValueError: order 7: bad id\n"},
		},
		{
			fmt.Errorf("order 7: %w", tasks.Raise("a.B", "x", 3)),
			protocol.Exception{Type: "B", Module: "a", Message: []byte(`["x", 3]`), Traceback: header + "a.B: order 7: x\n"},
		},
		{
			&outOfStockError{"tea"},
			protocol.Exception{Type: "OutOfStock", Module: "shop.errors", Message: []byte(`["no more tea"]`), Traceback: header + "shop.errors.OutOfStock: no more tea\n"},
		},
		{
			errors.Join(errors.New("first"), &outOfStockError{"tea"}),
			protocol.Exception{
				Type: "OutOfStock", Module: "shop.errors", Message: []byte(`["first\nno more tea"]`),
				Traceback: header + "shop.errors.OutOfStock: first\nno more tea\n",
			},
		},
		{remote, *remote},
		{fmt.Errorf("child: %w", remote), *remote},
	}
	for _, test := range tests {
		got := *tasks.ExceptionOf(test.err)
		if test.want.Message == nil { // an argument without a JSON form: its text, whatever that is
			if !regexp.MustCompile(`^\["x", "0x[0-9a-f]+"\]$`).Match(got.Message) {
				t.Errorf("%v: arguments %s", test.err, got.Message)
			}
			got.Message, got.Traceback = nil, test.want.Traceback
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.err, diff)
		}
	}
}

func fails(x int) error {
	if x > 0 {
		return tasks.Raise("ValueError", "bad id")
	}
	return nil
}

func missing() *outOfStockError { return nil }

func crashes(list []int, i int) int { return list[i] }

// Tracebacks show the handler's frames alone, the innermost last as in Python.
func TestTracebacks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		fn   any
		want string
	}{
		{"raise", func(x int) error { return fmt.Errorf("order: %w", fails(x)) }, `^Traceback \(most recent call last\):
  File ".*/errors_test.go", line \d+, in github.com/apium/apium/tasks_test.TestTracebacks.func1
  File ".*/errors_test.go", line \d+, in github.com/apium/apium/tasks_test.fails
ValueError: order: bad id
$`},
		{"runtime error", func(x int) int { return crashes(nil, x) }, `^Traceback \(most recent call last\):
  File ".*/errors_test.go", line \d+, in github.com/apium/apium/tasks_test.TestTracebacks.func2
  File ".*/errors_test.go", line \d+, in github.com/apium/apium/tasks_test.crashes
RuntimeError: runtime error: index out of range \[1\] with length 0
$`},
		{"panic", func(int) { panic("boom") }, `^Traceback \(most recent call last\):
  File ".*/errors_test.go", line \d+, in github.com/apium/apium/tasks_test.TestTracebacks.func3
RuntimeError: boom
$`},
		{"nil pointer", func(int) string { return missing().sku }, `RuntimeError: runtime error: invalid memory address or nil pointer dereference
$`},
		{"panic with a class", func(int) { panic(&outOfStockError{"tea"}) }, `^Traceback \(most recent call last\):
  File ".*/errors_test.go", line \d+, in github.com/apium/apium/tasks_test.TestTracebacks.func5
shop.errors.OutOfStock: no more tea
$`},
		{"panic with nothing", func(int) { panic(nil) }, `RuntimeError: panic called with nil argument`}, //nolint:govet // it is the case at hand
		{"handler", tasks.HandlerFunc(func(context.Context, *tasks.Request) (any, error) { panic("boom") }), `^Traceback \(most recent call last\):
  File ".*/errors_test.go", line \d+, in github.com/apium/apium/tasks_test.TestTracebacks.func7
RuntimeError: boom
$`},
		{"plain error", func(int) error { return errors.New("no") }, `^Traceback \(most recent call last\):
Exception: no
$`},
		{"bad argument", func(string) {}, `^Traceback \(most recent call last\):
TypeError: f\(\) argument 1 must be str, not int
$`},
	}
	for _, test := range tests {
		result, err := register("shop.f", test.fn).Call(context.Background(), request(`[1]`, `{}`))
		if err == nil || result != nil {
			t.Errorf("%s: result %v, error %v", test.name, result, err)
			continue
		}
		if got := tasks.ExceptionOf(err).Traceback; !regexp.MustCompile(test.want).MatchString(got) {
			t.Errorf("%s: got\n%s\nwant a match of\n%s", test.name, got, test.want)
		}
	}
}

// An error that was made when the program started has no place in a task.
func TestTracebackOfASentinel(t *testing.T) {
	t.Parallel()
	sentinel := tasks.Raise("ValueError", "always the same")
	_, err := register("shop.f", func() error { return sentinel }).Call(context.Background(), request(`[]`, `{}`))
	if got := tasks.ExceptionOf(err).Traceback; got != "Traceback (most recent call last):\nValueError: always the same\n" {
		t.Errorf("got %s", got)
	}
}

// A stack too deep to be recorded whole keeps its innermost part.
func TestTracebackOfDeepStack(t *testing.T) {
	t.Parallel()
	var deep func(n int) error
	deep = func(n int) error {
		if n == 0 {
			return tasks.Raise("ValueError", "deep")
		}
		return deep(n - 1)
	}
	_, err := register("shop.f", func() error { return deep(500) }).Call(context.Background(), request(`[]`, `{}`))
	got := tasks.ExceptionOf(err).Traceback
	if lines := strings.Count(got, "\n"); lines < 50 || lines > 70 {
		t.Errorf("%d lines:\n%s", lines, got)
	}
}
