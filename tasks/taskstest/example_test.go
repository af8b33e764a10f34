package taskstest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/taskstest"
)

// t stands for the *testing.T of a test function.
var t exampleT

var errBusy = errors.New("the bank is busy")

func register(reg *tasks.Registry) {
	reg.Register("shop.tasks.charge", func(ctx context.Context, order string, cents int) (string, error) {
		switch {
		case cents <= 0:
			return "", tasks.Raise("ValueError", "cents must be positive")
		case tasks.Current(ctx).Retries == 0:
			return "", tasks.Retry(errBusy, tasks.RetryCountdown(time.Minute))
		}
		_, err := tasks.Send(ctx, canvas.Sig("shop.tasks.mail", order))
		return "receipt of " + order, err
	}, tasks.Params("order, cents=100"))
}

func ExampleRun() {
	reg := tasks.NewRegistry()
	register(reg)

	run := taskstest.Run(t, reg, "shop.tasks.charge", "order-1", -5)
	fmt.Println(run.State(), run.Exception())

	run = taskstest.Run(t, reg, "shop.tasks.charge", "order-1")
	fmt.Println(run.State(), run.Retry().Countdown, run.Retry().Cause)

	run = taskstest.Run(t, reg, "shop.tasks.charge")
	fmt.Println(run.State(), run.Exception())
	// Output:
	// FAILURE ValueError: cents must be positive
	// RETRY 1m0s the bank is busy
	// FAILURE TypeError: charge() missing 1 required positional argument: 'order'
}

func ExampleApply() {
	reg := tasks.NewRegistry()
	register(reg)

	run := taskstest.Apply(t, reg, canvas.Sig("shop.tasks.charge").Kw(map[string]any{"order": "order-1"}), taskstest.FollowRetries())
	var receipt string
	run.Result(&receipt)
	fmt.Println(receipt, len(run.Retries()))
	for _, task := range run.Published() {
		fmt.Println(task.Name, string(task.Args))
	}
	// Output:
	// receipt of order-1 1
	// shop.tasks.mail ["order-1"]
}

type exampleT struct{}

func (exampleT) Helper()                           {}
func (exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (exampleT) Context() context.Context          { return context.Background() }
func (exampleT) Output() io.Writer                 { return io.Discard }
