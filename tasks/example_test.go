package tasks_test

import (
	"context"
	"fmt"

	"github.com/apium/apium/tasks"
)

func ExampleRegistry_Register() {
	reg := tasks.NewRegistry()
	reg.Register("shop.tasks.add", func(x, y int) int { return x + y }, tasks.Params("x, y=1"))

	entry, _ := reg.Lookup("shop.tasks.add")
	fmt.Println(entry.Call(context.Background(), request(`[2]`, `{"y": 3}`)))
	fmt.Println(entry.Call(context.Background(), request(`[]`, `{"y": 3}`)))
	fmt.Println(entry.Call(context.Background(), request(`["2"]`, `{}`)))
	// Output:
	// 5 <nil>
	// <nil> add() missing 1 required positional argument: 'x'
	// <nil> add() argument 'x' must be int, not str
}

func ExampleParams() {
	join := func(first, sep string, options map[string]bool, rest ...string) string {
		for _, s := range rest {
			first += sep + s
		}
		return fmt.Sprint(first, options)
	}
	reg := tasks.NewRegistry()
	reg.Register("text.join", join, tasks.Params("first, *rest, sep='-', **options"))

	entry, _ := reg.Lookup("text.join")
	fmt.Println(entry.Call(context.Background(), request(`["a", "b", "c"]`, `{"sep": "/", "upper": false}`)))
	// Output: a/b/cmap[upper:false] <nil>
}

// One struct stands for all arguments.
func ExampleRegistry_Register_struct() {
	type Mail struct {
		To      string
		Subject string `celery:"subject,'(none)'"`
		Retry   *int   `celery:"retry,None"`
	}
	send := func(ctx context.Context, m Mail) (string, error) {
		return fmt.Sprintf("%s: %s (task %s)", m.To, m.Subject, tasks.Current(ctx).ID), nil
	}
	reg := tasks.NewRegistry()
	reg.Register("mail.send", send)

	entry, _ := reg.Lookup("mail.send")
	fmt.Println(entry.Call(context.Background(), request(`["ada@example.org"]`, `{}`)))
	// Output: ada@example.org: (none) (task an-id) <nil>
}

func ExampleRaise() {
	err := fmt.Errorf("order 7: %w", tasks.Raise("ValueError", "bad id"))
	exc := tasks.ExceptionOf(err)
	fmt.Println(exc.Module, exc.Type, string(exc.Message))
	// Output: builtins ValueError ["order 7: bad id"]
}
