package tasks_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/taskstest"
)

type orderArgs struct {
	ID     int64          `celery:"order_id"`
	Notify *bool          `celery:"notify,True"`
	Lines  []string       `celery:",[]"`
	Tags   []string       `celery:"*tags"`
	Extra  map[string]int `celery:"**extra"`
}

var placeOrder = tasks.Define("shop.order", func(_ context.Context, args orderArgs) (orderArgs, error) { return args, nil })

func TestDefinedTaskIsCalledAsItIsDefined(t *testing.T) {
	t.Parallel()
	no := false
	reg := tasks.NewRegistry()
	placeOrder.Register(reg)
	for _, test := range []struct {
		sig          canvas.Signature
		args, kwargs string
	}{
		{placeOrder.S(orderArgs{ID: 7}), `[]`, `{"order_id": 7}`},
		{placeOrder.S(orderArgs{ID: 7, Notify: &no, Lines: []string{"tea"}}), `[]`, `{"lines": ["tea"], "notify": false, "order_id": 7}`},
		{placeOrder.S(orderArgs{ID: 7, Tags: []string{"a", "b"}}), `[7, true, [], "a", "b"]`, `{}`},
		{placeOrder.S(orderArgs{ID: 7, Extra: map[string]int{"x": 1}}), `[]`, `{"order_id": 7, "x": 1}`},
		{placeOrder.Partial(orderArgs{Notify: &no}), `[]`, `{"notify": false}`},
		{tasks.Define[int, int]("shop.twice", nil).S(4), `[4]`, `{}`},
		{tasks.Define[int, int]("shop.twice", nil, tasks.Params("n")).S(4), `[]`, `{"n": 4}`},
		{tasks.Define[struct{}, int]("shop.now", nil).S(struct{}{}), `[]`, `{}`},
		{tasks.Define[*orderArgs, int]("shop.now", nil).S(nil), `[]`, `{"order_id": 0}`},
		{tasks.Define[int, int]("shop.twice", nil).Partial(4), `[]`, `{}`},
	} {
		args, kwargs := string(test.sig.Args()), string(test.sig.Kwargs())
		if args == "" {
			args = "[]"
		}
		if kwargs == "" {
			kwargs = "{}"
		}
		if args != test.args || kwargs != test.kwargs {
			t.Errorf("%s: %s %s, want %s %s", test.sig.Append(nil), args, kwargs, test.args, test.kwargs)
		}
	}

	sent := orderArgs{ID: 7, Notify: &no, Lines: []string{"tea"}, Tags: []string{"a"}, Extra: map[string]int{"x": 1}}
	var got orderArgs
	taskstest.Apply(t, reg, placeOrder.S(sent).Set(canvas.TaskID("some-id"))).Result(&got)
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("what was sent is not what the handler got: %s", diff)
	}
}

func TestDefinitionsThatCannotBe(t *testing.T) {
	t.Parallel()
	none := tasks.Define[int, int]("shop.elsewhere", nil)
	for want, do := range map[string]func(){
		"tasks: Define: the task needs a name":                                                        func() { tasks.Define[int, int]("", nil) },
		`tasks: Define("t"): parameter 1, chan int, cannot take a value from a message: it is a chan`: func() { tasks.Define[chan int, int]("t", nil) },
		`tasks: Define("t"): Params names 2 parameters`:                                               func() { tasks.Define[int, int]("t", nil, tasks.Params("a, b")) },
		`tasks: Define("t"): Params("a, a"): parameter a appears twice`:                               func() { tasks.Define[int, int]("t", nil, tasks.Params("a, a")) },
		`tasks: Define("t"): rate limit "x": could`:                                                   func() { tasks.Define[int, int]("t", nil, tasks.RateLimit("x")) },
		`tasks: Register("shop.elsewhere"): the task is nil`:                                          func() { none.Register(tasks.NewRegistry()) },
	} {
		if got := recovered(do); !strings.HasPrefix(got, want) {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	if err := none.TryRegister(tasks.NewRegistry()); err == nil {
		t.Error("a task without a function was registered")
	}
	reg := tasks.NewRegistry()
	if err := placeOrder.TryRegister(reg); err != nil || !cmp.Equal(reg.Names(), []string{placeOrder.Name()}) {
		t.Errorf("%v, %v", err, reg.Names())
	}
}

// sender notes what is sent, and answers with a result.
type sender struct {
	sent   []canvas.Signature
	result string
	err    error
}

func (s *sender) SendTask(_ context.Context, sig canvas.Signature, _ ...canvas.Option) (string, tasks.Untyped, error) {
	s.sent = append(s.sent, sig)
	return "some-id", s, s.err
}

func (s *sender) Get(_ context.Context, out any) error {
	return pyjson.Unmarshal([]byte(s.result), out)
}
func (*sender) Revoke(context.Context, bool) error { return nil }
func (*sender) Forget(context.Context) error       { return nil }

func TestDelay(t *testing.T) {
	t.Parallel()
	s := &sender{result: "3"}
	add := tasks.Define[int, int]("shop.add", nil)
	result, err := add.Delay(t.Context(), s, 1)
	if err != nil || result.ID != "some-id" {
		t.Fatalf("%+v, %v", result, err)
	}
	if sum, err := result.Get(t.Context()); sum != 3 || err != nil {
		t.Errorf("%d, %v", sum, err)
	}
	if sum, err := add.Call(t.Context(), s, 1); sum != 3 || err != nil || len(s.sent) != 2 {
		t.Errorf("%d, %v, %d sent", sum, err, len(s.sent))
	}
	s.err = errors.New("no broker")
	if _, err := add.Call(t.Context(), s, 1); !errors.Is(err, s.err) {
		t.Errorf("%v", err)
	}
}
