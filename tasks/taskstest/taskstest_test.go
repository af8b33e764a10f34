package taskstest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/taskstest"
	"github.com/apium/apium/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shop has tasks that do what tasks may do.
func shop() *tasks.Registry {
	reg := tasks.NewRegistry()
	reg.Register("shop.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	reg.Register("shop.fail", func(text string) error { return tasks.Raise("shop.errors.OutOfStock", text, 5) })
	reg.Register("shop.panic", func() { panic("oh") })
	reg.Register("shop.flaky", func(ctx context.Context) (int, error) {
		if n := tasks.Current(ctx).Retries; n < 2 {
			return 0, tasks.Retry(fmt.Errorf("try %d", n), tasks.RetryCountdown(time.Hour))
		}
		return 7, nil
	})
	reg.Register("shop.never", func() error { return tasks.Retry(nil) }, tasks.MaxRetries(2), tasks.RetryDelay(1500*time.Millisecond), tasks.AcksLate(true))
	reg.Register("shop.order", func(ctx context.Context) error {
		if err := tasks.UpdateState(ctx, "PROGRESS", map[string]any{"done": 1}); err != nil {
			return err
		}
		tasks.Logger(ctx).Info("sending", "to", "ann")
		_, err := tasks.Send(ctx, canvas.Sig("mail.send", "ann"), canvas.Queue("mails"))
		return err
	}, tasks.TrackStarted(true))
	reg.Register("shop.slow", func(ctx context.Context) error {
		select {
		case <-time.After(time.Hour):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, tasks.SoftTimeLimit(10*time.Minute), tasks.TimeLimit(20*time.Minute))
	reg.Register("shop.deaf", func(ctx context.Context) { <-time.After(25 * time.Minute) }, tasks.TimeLimit(20*time.Minute))
	reg.Register("shop.replace", func(ctx context.Context) error { return tasks.Replace(ctx, canvas.Sig("shop.add", 1, 2)) })
	reg.Register("shop.reject", tasks.Reject, tasks.AcksLate(true))
	reg.Register("shop.quiet", func() int { return 3 }, tasks.IgnoreResult(true))
	return reg
}

func TestResult(t *testing.T) {
	t.Parallel()
	run := taskstest.Run(t, shop(), "shop.add", 1, 2)
	var sum int
	if run.Result(&sum); sum != 3 || run.State() != protocol.Success || run.Exception() != nil || run.Retry() != nil {
		t.Errorf("%d, %+v", sum, run)
	}
	run = taskstest.Apply(t, shop(), canvas.Sig("shop.add", 1).Kw(map[string]any{"y": 5}).Set(canvas.Queue("q"), canvas.TaskID("some-id")))
	if run.Result(&sum); sum != 6 || run.ID != "some-id" {
		t.Errorf("%d, %s", sum, run.ID)
	}
	run = taskstest.Run(t, shop(), "shop.quiet")
	if run.Result(&sum); sum != 3 || len(run.States()) != 0 {
		t.Errorf("%d, %+v", sum, run.States())
	}
}

func TestException(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		task string
		args []any
		want string
		at   string // in the traceback
	}{
		{"shop.fail", []any{"no tea"}, "shop.errors.OutOfStock: ('no tea', 5)", "taskstest_test.shop.func"},
		{"shop.panic", nil, "RuntimeError: oh", "taskstest_test.shop.func"},
		{"shop.add", []any{1}, "TypeError: add() missing 1 required positional argument: 'y'", ""},
		{"shop.add", []any{1, "x"}, "TypeError: add() argument 'y' must be int, not str", ""},
	} {
		run := taskstest.Run(t, shop(), test.task, test.args...)
		exc := run.Exception()
		if run.State() != protocol.Failure || exc == nil || exc.Error() != test.want || !strings.Contains(exc.Traceback, test.at) {
			t.Errorf("%s: %s, %v\n%+v", test.task, run.State(), exc, exc)
		}
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	run := taskstest.Run(t, shop(), "shop.flaky")
	retry := run.Retry()
	if run.State() != protocol.Retry || retry == nil || retry.Countdown != time.Hour || retry.Task.Retries != 1 || len(run.Published()) != 0 {
		t.Fatalf("%s: %+v", run.State(), retry)
	}
	if exc := run.Exception(); exc == nil || exc.Error() != "Exception: try 0" {
		t.Errorf("cause: %v", exc)
	}

	run = taskstest.Apply(t, shop(), canvas.Sig("shop.flaky"), taskstest.FollowRetries())
	var n int
	if run.Result(&n); n != 7 || len(run.Retries()) != 2 || len(run.States()) != 3 {
		t.Errorf("%d: %+v, %+v", n, run.Retries(), run.States())
	}

	run = taskstest.Apply(t, shop(), canvas.Sig("shop.never"), taskstest.FollowRetries())
	if wait := run.Retry().Countdown; wait != 1500*time.Millisecond {
		t.Errorf("waits %v, want the task's RetryDelay", wait)
	}
	if exc := run.Exception(); run.State() != protocol.Failure || exc.Type != "MaxRetriesExceededError" || len(run.Retries()) != 2 {
		t.Errorf("%s: %v, %+v", run.State(), exc, run.Retries())
	}
}

func TestWhatATaskDoes(t *testing.T) {
	t.Parallel()
	reg := shop()
	var hooks []string
	reg.Connect(tasks.Hooks{
		TaskPrerun: func(context.Context, *tasks.Request) { hooks = append(hooks, "prerun") },
		TaskSuccess: func(_ context.Context, _ *tasks.Request, result []byte) {
			hooks = append(hooks, "success "+string(result))
		},
	})
	run := taskstest.Apply(t, reg, canvas.Sig("shop.order").Link(canvas.Sig("shop.after").Immutable()))
	run.Result(nil)
	var states []string
	for _, record := range run.States() {
		states = append(states, string(record.State))
	}
	if want := []string{"STARTED", "PROGRESS", "SUCCESS"}; !slices.Equal(states, want) || string(run.States()[1].Result) != `{"done": 1}` {
		t.Errorf("states %q, want %q", states, want)
	}
	sent := run.Published()
	if len(sent) != 2 || sent[0].Name != "mail.send" || string(sent[0].Args) != `["ann"]` || sent[0].RoutingKey != "mails" ||
		sent[0].ParentID != run.ID || sent[1].Name != "shop.after" {
		t.Errorf("published %+v", sent)
	}
	if want := []string{"prerun", "success null"}; !slices.Equal(hooks, want) {
		t.Errorf("hooks %q, want %q", hooks, want)
	}
	if want := `msg=sending task_name=shop.order task_id=` + run.ID + ` to=ann`; !strings.Contains(run.Log(), want) {
		t.Errorf("log:\n%s\nwant %s", run.Log(), want)
	}
	if n := len(reg.Hooks()); n != 1 {
		t.Errorf("%d hooks in the registry afterwards", n)
	}
}

func TestOtherEnds(t *testing.T) {
	t.Parallel()
	run := taskstest.Run(t, shop(), "shop.replace")
	if sent := run.Published(); run.State() != protocol.Ignored || len(sent) != 1 || sent[0].Name != "shop.add" || sent[0].ID != run.ID {
		t.Errorf("replaced: %s, %+v", run.State(), sent)
	}
	for _, requeue := range []bool{true, false} {
		run := taskstest.Run(t, shop(), "shop.reject", requeue)
		if run.Requeued() != requeue || !strings.Contains(run.Log(), "reject requeue") {
			t.Errorf("rejected, requeue %t: %s, %t\n%s", requeue, run.State(), run.Requeued(), run.Log())
		}
	}
	run = taskstest.Apply(t, shop(), canvas.Sig("shop.add", 1, 2).Set(canvas.Expires(-time.Second)))
	if run.State() != protocol.Revoked || run.Exception().Error() != "celery.exceptions.TaskRevokedError: expired" {
		t.Errorf("expired: %s, %v", run.State(), run.Exception())
	}
	run = taskstest.Apply(t, shop(), canvas.Sig("shop.add", 1, 2), taskstest.Configure(func(c *worker.Config) {
		ignore := true
		c.Annotations = []map[string]tasks.Options{{"shop.add": {IgnoreResult: &ignore}}}
	}))
	if run.Result(nil); len(run.States()) != 0 {
		t.Errorf("annotated: %+v", run.States())
	}
}

// With a virtual clock, minutes take no time.
func TestTime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		task  string
		opts  []taskstest.Option
		state protocol.State
		exc   string
		took  time.Duration
	}{
		"soft limit": {"shop.slow", nil, protocol.Failure, "billiard.exceptions.SoftTimeLimitExceeded", 10 * time.Minute},
		"hard limit": {"shop.deaf", nil, protocol.Failure, "billiard.exceptions.TimeLimitExceeded: 1200", 20 * time.Minute},
		"revoked":    {"shop.slow", []taskstest.Option{taskstest.RevokeAfter(time.Minute)}, protocol.Revoked, "celery.exceptions.TaskRevokedError: terminated", time.Minute},
		"shut down":  {"shop.slow", []taskstest.Option{taskstest.ShutdownAfter(time.Minute)}, protocol.Retry, "", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				run := taskstest.Apply(t, shop(), canvas.Sig(test.task), test.opts...)
				got := ""
				if exc := run.Exception(); exc != nil {
					got = exc.Error()
				}
				if took := time.Since(start); run.State() != test.state || got != test.exc || took < test.took || took > test.took+time.Minute {
					t.Errorf("%s, %s after %v", run.State(), got, took)
				}
				time.Sleep(time.Hour) // handlers that nobody waited for end
			})
		})
	}
}

// failing notes what a test is failed with.
type failing struct {
	*testing.T
	text string
}

var errFailed = errors.New("failed")

func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(errFailed)
}

func (f *failing) Output() io.Writer { return io.Discard }

func TestMistakesFailTheTest(t *testing.T) {
	t.Parallel()
	for want, do := range map[string]func(taskstest.T){
		`taskstest: task "shop.ad" is not registered`:       func(t taskstest.T) { taskstest.Run(t, shop(), "shop.ad") },
		"taskstest: client: Object of type chan int":        func(t taskstest.T) { taskstest.Run(t, shop(), "shop.add", make(chan int)) },
		"taskstest: worker: Concurrency must be at least 1": func(t taskstest.T) { misconfigured(t) },
		"shop.fail ended in FAILURE: shop.errors.OutOfStock: ('no', 5)\nTraceback": func(t taskstest.T) {
			taskstest.Run(t, shop(), "shop.fail", "no").Result(nil)
		},
		"result of shop.add: ": func(t taskstest.T) { taskstest.Run(t, shop(), "shop.add", 1, 2).Result(new(string)) },
	} {
		f := &failing{T: t}
		func() {
			defer func() {
				if v := recover(); v != nil && v != any(errFailed) {
					panic(v)
				}
			}()
			do(f)
		}()
		if !strings.HasPrefix(f.text, want) {
			t.Errorf("got %q, want %q", f.text, want)
		}
	}
}

func misconfigured(t taskstest.T) {
	taskstest.Apply(t, shop(), canvas.Sig("shop.add", 1, 2), taskstest.Configure(func(c *worker.Config) { c.Concurrency = -1 }))
}

func BenchmarkRun(b *testing.B) {
	reg := shop()
	for b.Loop() {
		taskstest.Apply(quiet{b}, reg, canvas.Sig("shop.add", 1, 2), taskstest.Configure(func(c *worker.Config) {
			c.Logger = slog.New(slog.DiscardHandler)
		}))
	}
}

type quiet struct{ *testing.B }

func (quiet) Output() io.Writer { return io.Discard }
