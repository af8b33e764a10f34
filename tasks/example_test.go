package tasks_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
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

// One definition is registered, and makes the calls that fit it.
func ExampleDefine() {
	type AddArgs struct {
		X int
		Y int `celery:"y"`
	}
	add := tasks.Define("shop.tasks.add", func(_ context.Context, args AddArgs) (int, error) { return args.X + args.Y, nil })

	reg := tasks.NewRegistry()
	add.Register(reg)
	entry, _ := reg.Lookup(add.Name())
	fmt.Println(entry.Call(context.Background(), request(`[1]`, `{"y": 2}`)))

	step := add.Partial(AddArgs{Y: 3}) // X is the result of the step before
	fmt.Println(string(add.S(AddArgs{X: 1, Y: 2}).Kwargs()), string(step.Kwargs()))
	_ = canvas.Chain(add.S(AddArgs{X: 1, Y: 2}), step)
	// Output:
	// 3 <nil>
	// {"x": 1, "y": 2} {"y": 3}
}

// What beat sends: every weekday at eight in Berlin, and every half minute.
func ExampleRegistry_Periodic() {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		fmt.Println(err)
		return
	}
	type ReportArgs struct{ Kind string }
	report := tasks.Define[ReportArgs, string]("shop.tasks.report", nil) // runs in Python

	reg := tasks.NewRegistry()
	report.Periodic(reg, "0 8 * * mon-fri", ReportArgs{Kind: "daily"}, tasks.Zone(berlin), tasks.Queue("reports"))
	reg.Periodic(30*time.Second, canvas.Sig("shop.tasks.poll"), tasks.Expires(20*time.Second))

	friday := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, p := range reg.PeriodicTasks() {
		fmt.Println(p.Name, p.Schedule(nil), p.Schedule(nil).Next(friday))
	}
	err = reg.TryPeriodic("0 24 * * *", canvas.Sig("shop.tasks.clean"))
	fmt.Println(err)
	// Output:
	// shop.tasks.poll <freq: 30.00 seconds> 2026-11-27 12:00:30 +0000 UTC
	// shop.tasks.report <crontab: 0 8 * * mon-fri (m/h/dM/MY/d)> 2026-11-30 07:00:00 +0000 UTC
	// tasks: "shop.tasks.clean" cannot be a periodic task: hour "24": 24 is not between 0 and 23
}

func ExampleLogger() {
	reg := tasks.NewRegistry()
	reg.Register("shop.tasks.charge", func(ctx context.Context, cents int) {
		tasks.Logger(ctx).Info("charged", "cents", cents)
	}, tasks.Params("cents"))

	worker := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	entry, _ := reg.Lookup("shop.tasks.charge")
	_, _ = entry.Call(context.Background(), &tasks.Request{
		Task: &protocol.Task{Name: entry.Name, ID: "9b1deb4d", Args: []byte(`[250]`)}, Log: worker, // a worker does this
	})
	// Output: level=INFO msg=charged task_name=shop.tasks.charge task_id=9b1deb4d cents=250
}

// An error callback with an argument of its own.
func ExampleErrback() {
	reg := tasks.NewRegistry()
	reg.Register("shop.tasks.on_error", func(failed tasks.Failure, to string) string {
		return fmt.Sprintf("to %s: %s failed with %s", to, failed.Request.ID, failed.Exception.Repr())
	}, tasks.Errback(), tasks.Params("request, exc, traceback, to='root'"))

	entry, _ := reg.Lookup("shop.tasks.on_error")
	fmt.Println(entry.Call(context.Background(), request(`["order-1", "no tea", null]`, `{"to": "ann"}`)))
	// Output: to ann: order-1 failed with Exception('no tea') <nil>
}
