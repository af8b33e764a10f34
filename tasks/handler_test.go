package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/gocelery/gocelery"
	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/tasks"
)

func TestFunctions(t *testing.T) {
	t.Parallel()
	failure := errors.New("no")
	tests := []struct {
		name   string
		fn     any
		args   string
		result any
		err    error
	}{
		{"nothing", func() {}, `[]`, nil, nil},
		{"result", func(x, y int) int { return x + y }, `[1, 2]`, 3, nil},
		{"error", func(string) error { return failure }, `["x"]`, nil, failure},
		{"no error", func(string) error { return nil }, `["x"]`, nil, nil},
		{"both", func(x int) (int, error) { return x, nil }, `[1]`, 1, nil},
		{"both, failed", func(x int) (int, error) { return x, failure }, `[1]`, nil, failure},
		{"nil result", func() (any, error) { return nil, nil }, `[]`, nil, nil},
		{"context", func(ctx context.Context, x int) string { return fmt.Sprintln(tasks.Current(ctx).ID, x) }, `[1]`, "an-id 1\n", nil},
		{"context alone", func(ctx context.Context) string { return tasks.Current(ctx).ID }, `[]`, "an-id", nil},
		{"variadic", func(x int, rest ...int) int { return x + len(rest) }, `[1, 2, 3]`, 3, nil},
		{"variadic, none", func(rest ...any) int { return len(rest) }, `[]`, 0, nil},
	}
	for _, test := range tests {
		entry := register("shop.f", test.fn)
		result, err := entry.Call(context.Background(), request(test.args, `{}`))
		if !errors.Is(err, test.err) || err != nil && test.err == nil {
			t.Errorf("%s: error %v, want %v", test.name, err, test.err)
		}
		if diff := cmp.Diff(test.result, result); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// Without Params a function is called as Python calls one written in C, whose
// parameters have no names either.
func TestFunctionsWithoutNames(t *testing.T) {
	t.Parallel()
	add := func(x, y int) int { return x + y }
	tests := []struct {
		fn           any
		args, kwargs string
		want         string
	}{
		{add, `[1]`, `{}`, "add() takes exactly 2 positional arguments (1 given)"},
		{add, `[1, 2, 3]`, `{}`, "add() takes 2 positional arguments but 3 were given"},
		{add, `[1]`, `{"y": 2}`, "add() takes no keyword arguments"},
		{add, `[1, "2"]`, `{}`, "add() argument 2 must be int, not str"},
		{add, `null`, `null`, "add() takes exactly 2 positional arguments (0 given)"},
		{func(int, ...int) {}, `[]`, `{}`, "add() takes at least 1 positional argument (0 given)"},
		{func(int, ...int) {}, `[1, 2, "3"]`, `{}`, "add() argument 3 must be int, not str"},
	}
	for _, test := range tests {
		_, err := register("shop.tasks.add", test.fn).Call(context.Background(), request(test.args, test.kwargs))
		if exc := exceptionOf(err); exc.Type != "TypeError" || err.Error() != test.want {
			t.Errorf("%T with %s %s:\n got %v\nwant %s", test.fn, test.args, test.kwargs, err, test.want)
		}
	}
}

// Go's variadic parameter stands last, wherever *args is in Python.
func TestVariadicTakesArgs(t *testing.T) {
	t.Parallel()
	entry := register("shop.f", func(x string, sep string, extra map[string]int, rest ...int) string {
		return fmt.Sprint(x, rest, sep, extra)
	}, tasks.Params("x, *rest, sep='-', **extra"))
	got, err := entry.Call(context.Background(), request(`["a", 1, 2]`, `{"n": 5, "sep": "+"}`))
	if want := "a[1 2]+map[n:5]"; got != want || err != nil {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	_, err = entry.Call(context.Background(), request(`["a", 1, "2"]`, `{}`))
	if want := "f() argument 3 must be int, not str"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = entry.Call(context.Background(), request(`["a"]`, `{"n": "5"}`))
	if want := "f() argument 'n' must be int, not str"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

type addressed struct{ City string }

type order struct {
	ID    int64 `celery:"order_id"`
	Lines []string
	addressed
	Notify bool              `celery:"notify,True"`
	Addr   addressed         `json:"addr,omitempty" celery:",{'City': 'Bonn'}"`
	Skip   chan int          `celery:"-"`
	Note   *string           `celery:"note,None"`
	Tags   []string          `celery:"*tags"`
	Extra  map[string]string `celery:"**extra"`
	hidden int
}

func TestStructStandsForArguments(t *testing.T) {
	t.Parallel()
	show := func(o *order) string {
		return fmt.Sprintf("%v %v %v %v %v %v %v %v %v",
			o.ID, o.Lines, o.City, o.Notify, o.Addr, o.Note == nil, o.Tags, o.Extra, o.hidden)
	}
	tests := []struct{ args, kwargs, want string }{
		{`[7, ["x"], "Köln"]`, `{}`, "7 [x] Köln true {Bonn} true [] map[] 0"},
		{`[7]`, `{"lines": [], "city": "Kiel", "notify": false, "k": "v"}`, "7 [] Kiel false {Bonn} true [] map[k:v] 0"},
		{`[7, [], "Kiel", true, {"City": "Ulm"}, "n", "t"]`, `{}`, "7 [] Kiel true {Ulm} false [t] map[] 0"},
		{`[7]`, `{}`, "place() missing 2 required positional arguments: 'lines' and 'city'"},
		{`[7]`, `{"order_id": 8}`, "place() got multiple values for argument 'order_id'"},
		{`["7", [], ""]`, `{}`, "place() argument 'order_id' must be int, not str"},
	}
	value := register("shop.place", func(o order) (string, error) { return show(&o), nil })
	pointer := register("shop.place", func(_ context.Context, o *order) string { return show(o) })
	for _, test := range tests {
		for _, entry := range []*tasks.Entry{value, pointer} {
			got, err := entry.Call(context.Background(), request(test.args, test.kwargs))
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%s %s:\n got %v\nwant %s", test.args, test.kwargs, got, test.want)
			}
		}
	}
}

// A task may keep the pointer to its arguments.
func TestStructPointerIsNotReused(t *testing.T) {
	t.Parallel()
	entry := register("shop.keep", func(o *order) *order { return o })
	first, _ := entry.Call(context.Background(), request(`[1, [], ""]`, `{}`))
	second, _ := entry.Call(context.Background(), request(`[2, [], ""]`, `{}`))
	if first.(*order).ID != 1 || second.(*order).ID != 2 {
		t.Errorf("got %v and %v", first, second)
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	handle := func(ctx context.Context, req *tasks.Request) (any, error) {
		return tasks.Current(ctx) == req, nil
	}
	for _, fn := range []any{handle, tasks.HandlerFunc(handle)} {
		got, err := register("shop.h", fn).Call(context.Background(), request(`[1]`, `{}`))
		if got != true || err != nil {
			t.Errorf("%T: got %v, %v", fn, got, err)
		}
	}
	if tasks.Current(context.Background()) != nil {
		t.Error("there is a current task outside of tasks")
	}
}

// adder is a task as gocelery's documentation shows it.
type adder struct{ a, b int }

var _ gocelery.CeleryTask = (*adder)(nil)

func (t *adder) ParseKwargs(kwargs map[string]interface{}) error {
	a, ok := kwargs["a"].(float64)
	if !ok {
		return errors.New("malformed kwarg a")
	}
	b, ok := kwargs["b"].(float64)
	if !ok {
		return errors.New("malformed kwarg b")
	}
	t.a, t.b = int(a), int(b)
	return nil
}

func (t *adder) RunTask() (interface{}, error) { return t.a + t.b, nil }

func TestGoceleryTask(t *testing.T) {
	t.Parallel()
	plain := register("worker.add", &adder{})
	named := register("worker.add", &adder{}, tasks.Params("a, b=5"))
	tests := []struct {
		entry        *tasks.Entry
		args, kwargs string
		want         any
	}{
		{plain, `[]`, `{"a": 1, "b": 2}`, 3},
		{plain, `null`, `{"a": 1, "b": 2}`, 3},
		{plain, `[1, 2]`, `null`, "add() malformed kwarg a"},
		{plain, `[]`, `{"a": "1", "b": 2}`, "add() malformed kwarg a"},
		{named, `[1, 2]`, `{}`, 3},
		{named, `[1]`, `{}`, 6},
		{named, `[]`, `{}`, "add() missing 1 required positional argument: 'a'"},
		{named, `[1]`, `{"c": 2}`, "add() got an unexpected keyword argument 'c'"},
	}
	for _, test := range tests {
		got, err := test.entry.Call(context.Background(), request(test.args, test.kwargs))
		if err != nil {
			got = err.Error()
			if exc := tasks.ExceptionOf(err); exc.Type != "TypeError" {
				t.Errorf("%s %s: %s", test.args, test.kwargs, exc.Type)
			}
		}
		if got != test.want {
			t.Errorf("%s %s: got %v, want %v", test.args, test.kwargs, got, test.want)
		}
	}
}

// Calls that run at once must not see each other's arguments.
func TestGoceleryTaskIsCopied(t *testing.T) {
	t.Parallel()
	registered := &adder{}
	entry := register("worker.add", registered)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			got, err := entry.Call(context.Background(), request(`[]`, fmt.Sprintf(`{"a": %d, "b": 1}`, i)))
			if got != i+1 || err != nil {
				t.Errorf("%d + 1 = %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	if *registered != (adder{}) {
		t.Errorf("a call changed the registered task to %+v", *registered)
	}
}
