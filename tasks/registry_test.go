package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/tasks"
)

func TestRegistry(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	if names := reg.Names(); len(names) != 0 {
		t.Errorf("a new registry has %v", names)
	}
	reg.Register("b.two", func() {})
	reg.Register("a.one", func() {}, tasks.AcksLate(true), tasks.IgnoreResult(false))
	if diff := cmp.Diff([]string{"a.one", "b.two"}, reg.Names()); diff != "" {
		t.Error(diff)
	}
	if _, ok := reg.Lookup("a"); ok {
		t.Error("a is registered")
	}
	entry, ok := reg.Lookup("a.one")
	if !ok || entry.Name != "a.one" {
		t.Fatalf("Lookup: %+v, %v", entry, ok)
	}
	o := entry.Options
	if o.AcksLate == nil || !*o.AcksLate || o.IgnoreResult == nil || *o.IgnoreResult ||
		o.TrackStarted != nil || o.StoreErrorsEvenIfIgnored != nil {
		t.Errorf("options %+v", o)
	}
}

type nothing struct{}

func TestRegisterPanics(t *testing.T) {
	t.Parallel()
	var nilFunc func()
	tests := []struct {
		name   string
		fn     any
		params string
		want   string
	}{
		{"", func() {}, "", "tasks: Register: the task needs a name"},
		{"taken", func() {}, "", `tasks: Register("taken"): a task of this name is registered already`},
		{"t", nil, "", "the task is nil"},
		{"t", nilFunc, "", "the task is nil"},
		{"t", (*adder)(nil), "", "the task is nil"},
		{"t", 5, "", "int is no task: a task is a function func([ctx context.Context,] [arguments...]) ([result,] [error]), a tasks.Handler"},
		{"t", nothing{}, "", "tasks_test.nothing is no task"},
		{"t", func() (int, int) { return 0, 0 }, "", "a task returns at most a result and an error, and func() (int, int) returns more"},
		{"t", func() (int, error, error) { return 0, nil, nil }, "", "returns more"},
		{"t", func(chan int) {}, "", "parameter 1, chan int, cannot take a value from a message: it is a chan"},
		{"t", func(int, []func()) {}, "", "parameter 2, []func(), cannot take a value from a message: it is a func"},
		{"t", func(fmt.Stringer) {}, "", "an interface with methods does not say which type to make"},
		{"t", func(int, context.Context) {}, "", "a context stands first"},
		{"t", func(map[float64]string) {}, "", "the keys of its map are no strings"},
		{"t", func(context.Context, *tasks.Request) error { return nil }, "", "func(context.Context, *tasks.Request) (any, error)"},
		{"t", func(struct{ F func() }) {}, "", "field F of struct { F func() } cannot take a value from a message: it is a func"},
		{"t", func(struct{ A, B int }) {}, "x, y", "Params names 2 parameters, and func(struct { A int; B int }) takes 1"},
		{"t", func(x int) {}, "x, y", "Params names 2 parameters, and func(int) takes 1"},
		{"t", func(x, y int) {}, "x, *, y=", `Params("x, *, y="): default of y: only literals can be used, and the end is not one`},
		{"t", func(x int, y ...int) {}, "x, y", "is variadic, and Params has no *args"},
		{"t", func(x int) {}, "*args", "*args needs a slice, not int"},
		{"t", func(x []int) {}, "**kwargs", "**kwargs needs a map with string keys, not []int"},
		{"t", func(x int) {}, "x='1'", "the default of x does not fit int: "},
		{"t", func(x int) {}, "x=None", "the default of x does not fit int; make it a pointer: "},
		{"t", func(x int8) {}, "x=300", "the default of x does not fit int8: "},
		{"t", func(struct {
			A int `celery:"a,x"`
		}) {
		}, "", "as parameters (a=x): default of a: only literals can be used"},
		{"t", func(struct {
			A int `celery:"a,1"`
			B int
		}) {
		}, "", "b has no default and follows a parameter that has one"},
		{"t", func(struct {
			A int `json:"order-id"`
		}) {
		}, "", `as parameters (order-id): "-id" where a comma was expected`},
		{"t", tasks.HandlerFunc(func(context.Context, *tasks.Request) (any, error) { return nil, nil }), "x", "Params is for functions"},
	}
	for _, test := range tests {
		reg := tasks.NewRegistry()
		reg.Register("taken", func() {})
		var opts []tasks.Option
		if test.params != "" {
			opts = append(opts, tasks.Params(test.params))
		}
		got := recovered(func() { reg.Register(test.name, test.fn, opts...) })
		if !strings.Contains(got, test.want) {
			t.Errorf("Register(%q, %T, %q):\n got %s\nwant %s", test.name, test.fn, test.params, got, test.want)
		}
		if err := reg.TryRegister(test.name, test.fn, opts...); err == nil || !strings.HasSuffix(got, errors.Unwrap(err).Error()) {
			t.Errorf("TryRegister(%q, %T, %q): %v, Register panics with %s", test.name, test.fn, test.params, err, got)
		}
		if diff := cmp.Diff([]string{"taken"}, reg.Names()); diff != "" {
			t.Errorf("Register(%q, %T) left %s", test.name, test.fn, diff)
		}
	}
}

func TestTryRegister(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	if err := reg.TryRegister("shop.add", func(x, y int) int { return x + y }, tasks.Params("x, y")); err != nil {
		t.Fatal(err)
	}
	if _, ok := reg.Lookup("shop.add"); !ok {
		t.Error("it is not registered")
	}
	err := reg.TryRegister("shop.add", func() {})
	if want := `tasks: "shop.add" cannot be registered: a task of this name is registered already`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	reg.Register("shop.add", func() {})
	reg.RegisterCommand("level", func() {})
	clone := reg.Clone()
	clone.Register("shop.sub", func() {})
	clone.RegisterCommand("depth", func() {})
	clone.Connect(tasks.Hooks{})
	called := 0
	clone.Use(func(next tasks.Handler) tasks.Handler { called++; return next })
	if diff := cmp.Diff([]string{"shop.add"}, reg.Names()); diff != "" || len(reg.Commands()) != 1 || len(reg.Hooks()) != 0 {
		t.Errorf("the registry has what was added to its clone: %s, %q, %d hooks", diff, reg.Commands(), len(reg.Hooks()))
	}
	if diff := cmp.Diff([]string{"shop.add", "shop.sub"}, clone.Names()); diff != "" || called != 2 {
		t.Errorf("clone: %s, %d wrapped", diff, called)
	}
	if reg.Register("shop.mul", func() {}); called != 2 {
		t.Error("the registry has the middleware of its clone")
	}
}

// recovered returns what f panics with, as text.
func recovered(f func()) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	f()
	return ""
}
