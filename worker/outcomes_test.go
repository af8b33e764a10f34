package worker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

func TestOutcomes(t *testing.T) {
	late := tasks.AcksLate(true)
	valueError := tasks.Raise("ValueError", "bad")
	tests := []struct {
		name   string
		err    error
		opts   []tasks.Option
		result string // of the task's record
		events []string
		log    string
		queued int
	}{
		{"ignore", tasks.Ignore(), nil, "", []string{"ignored"}, "ignored", 0},
		{"late ignore", tasks.Ignore(), []tasks.Option{late}, "", []string{"ignored"}, "ignored", 0},
		{
			"reject", tasks.Reject(false),
			[]tasks.Option{late},
			`FAILURE {"exc_type": "Reject", "exc_message": [null, false], "exc_module": "celery.exceptions"}`,
			[]string{"failed Reject", "rejected"},
			"reject requeue=False: None", 0,
		},
		{
			"early reject", tasks.RejectWithReason("broken", false), nil,
			`FAILURE {"exc_type": "Reject", "exc_message": ["broken", false], "exc_module": "celery.exceptions"}`,
			[]string{"failed Reject"},
			"reject requeue=False: broken", 0,
		},
		{"early requeue", tasks.Reject(true), nil, "", []string{"ignored Reject"}, "reject requeue=True: None", 0},
		{
			"expected", valueError,
			[]tasks.Option{tasks.Throws(func(error) bool { return true })},
			`FAILURE {"exc_type": "ValueError", "exc_message": ["bad"], "exc_module": "builtins"}`,
			[]string{"failed ValueError"},
			"raised expected: ValueError('bad')", 0,
		},
		{
			"not acknowledged", valueError,
			[]tasks.Option{late, tasks.AcksOnFailure(false)},
			`FAILURE {"exc_type": "ValueError", "exc_message": ["bad"], "exc_module": "builtins"}`,
			[]string{"rejected", "failed ValueError"},
			"raised unexpected: ValueError('bad')", 0,
		},
		{
			"no retries left", tasks.Retry(nil),
			[]tasks.Option{tasks.MaxRetries(0)},
			`FAILURE {"exc_type": "MaxRetriesExceededError", "exc_message": ["Can't retry app.do[the-id] args:() kwargs:{}"], "exc_module": "celery.exceptions"}`,
			[]string{"failed MaxRetriesExceededError"},
			"raised unexpected: MaxRetriesExceededError(", 0,
		},
		{
			"no retries left for a cause", tasks.Retry(valueError, tasks.MaxRetries(0)), nil,
			`FAILURE {"exc_type": "ValueError", "exc_message": ["bad"], "exc_module": "builtins"}`,
			[]string{"failed ValueError"},
			"raised unexpected: ValueError('bad')", 0,
		},
		{
			"retry", tasks.Retry(valueError, tasks.RetryQueue("other"), tasks.RetryCountdown(5*time.Second)), nil,
			`RETRY {"exc_type": "ValueError", "exc_message": ["bad"], "exc_module": "builtins"}`,
			[]string{"retried ValueError"},
			"retry: Retry in 5s: ValueError('bad')", 1,
		},
		{
			"retry that does not fit", tasks.Retry(nil, tasks.RetryArgs(1)), nil,
			`FAILURE {"exc_type": "Reject", "exc_message": ["TypeError('do() takes 0 positional arguments but 1 was given')", false], "exc_module": "celery.exceptions"}`,
			[]string{"failed Reject"},
			"reject requeue=False: do() takes 0 positional arguments but 1 was given", 0,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.do", func() error { return tt.err }, append(tt.opts, tasks.Params(""))...)
				b.start()
				id := b.send(canvas.Sig("app.do").Set(canvas.TaskID("the-id")))
				b.wantResult(id, tt.result)
				b.wantEvents(append([]string{"received", "started"}, tt.events...)...)
				b.wantLog("Task app.do[the-id] " + tt.log)
				b.wantQueued(0, 0)
				if n := b.broker.Len("other"); n != tt.queued {
					t.Errorf("%d messages were published, want %d", n, tt.queued)
				}
			})
		})
	}
}

func TestRequeueIsRedelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var seen []bool
		b.cfg.Concurrency = 1
		b.reg.Register("app.do", func(ctx context.Context) error {
			seen = append(seen, tasks.Current(ctx).Redelivered)
			if len(seen) < 2 {
				return tasks.Reject(true)
			}
			return nil
		}, tasks.AcksLate(true))
		b.start()
		b.wantResult(b.send(canvas.Sig("app.do")), "SUCCESS null")
		if fmt.Sprint(seen) != "[false true]" {
			t.Errorf("redelivered = %v", seen)
		}
		b.wantEventsInAnyOrder("received", "received", "rejected Reject", "started", "started", "succeeded")
		b.wantQueued(0, 0)
	})
}

func TestAResultNobodyWantsNeedsNoJSON(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.do", func() any { return make(chan int) }, tasks.IgnoreResult(true))
		b.start()
		b.wantResult(b.send(canvas.Sig("app.do")), "")
		b.wantEvents("received", "started", "succeeded")
		b.wantLog(": <chan int object>")
	})
}

func TestAHandlerThatEndsItsGoroutine(t *testing.T) {
	const lost = `FAILURE {"exc_type": "WorkerLostError", "exc_message": ["Worker exited prematurely: the handler ended its goroutine."], "exc_module": "billiard.exceptions"}`
	tests := []struct {
		name   string
		opts   []tasks.Option
		result string
		events []string
	}{
		{"early", nil, lost, []string{"failed WorkerLostError"}},
		{"late", []tasks.Option{tasks.AcksLate(true)}, lost, []string{"failed WorkerLostError"}},
		{"early reject", []tasks.Option{tasks.RejectOnWorkerLost(true)}, lost, []string{"failed WorkerLostError"}},
		{
			"reject",
			[]tasks.Option{tasks.AcksLate(true), tasks.RejectOnWorkerLost(true)},
			"SUCCESS null",
			[]string{"rejected", "received", "started", "succeeded"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				var runs atomic.Int32
				b.reg.Register("app.die", func() {
					if runs.Add(1) == 1 {
						runtime.Goexit()
					}
				}, tt.opts...)
				b.reg.Register("app.add", add)
				b.cfg.Concurrency = 1
				b.start()
				b.wantResult(b.send(canvas.Sig("app.die")), tt.result)
				b.wantEventsInAnyOrder(slices.Sorted(slices.Values(append(tt.events, "received", "started")))...)
				b.wantLog("Task handler raised error: WorkerLostError(")
				b.wantQueued(0, 0)
				b.wantResult(b.send(canvas.Sig("app.add", 1, 2)), "SUCCESS 3") // in a new slot
				if s := b.w.Stats(); s.Active != 0 || s.Abandoned != 0 {
					t.Errorf("stats = %+v", s)
				}
			})
		})
	}
}

func TestSoftTimeLimit(t *testing.T) {
	tests := []struct {
		name   string
		give   func(context.Context) error
		result string
	}{
		{"the context's error", context.Context.Err, "FAILURE"},
		{"its cause", context.Cause, "FAILURE"},
		{"wrapped", func(ctx context.Context) error { return fmt.Errorf("gave up: %w", ctx.Err()) }, "FAILURE"},
		{"caught", func(context.Context) error { return nil }, "SUCCESS null"},
		{"something else", func(context.Context) error { return errors.New("no") }, `FAILURE {"exc_type": "Exception"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.wait", func(ctx context.Context) error {
					<-ctx.Done()
					if !errors.Is(context.Cause(ctx), tasks.ErrSoftTimeLimit) {
						t.Errorf("cause = %v", context.Cause(ctx))
					}
					return tt.give(ctx)
				}, tasks.SoftTimeLimit(time.Minute))
				b.start()
				id := b.send(canvas.Sig("app.wait"))
				b.sleep(59 * time.Second)
				b.wantResult(id, "")
				b.sleep(time.Second)
				want := tt.result
				if want == "FAILURE" {
					want = `FAILURE {"exc_type": "SoftTimeLimitExceeded", "exc_message": [], "exc_module": "billiard.exceptions"}`
				}
				if got := b.result(id); !strings.HasPrefix(got, want) {
					t.Errorf("result = %s", got)
				}
				b.wantLog("Soft time limit (60s) exceeded for app.wait[" + id + "]")
			})
		})
	}
}

func TestHardTimeLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var done atomic.Bool
		var updated error
		b.reg.Register("app.block", func(ctx context.Context) {
			time.Sleep(time.Hour)
			updated = tasks.UpdateState(ctx, "PROGRESS", 1)
			done.Store(true)
		}, tasks.TimeLimit(time.Minute))
		b.reg.Register("app.add", add)
		b.cfg.Concurrency = 1
		b.start()
		id := b.send(canvas.Sig("app.block"))
		waiting := b.send(canvas.Sig("app.add", 1, 2))
		b.sleep(59 * time.Second)
		b.wantResult(waiting, "")
		b.sleep(time.Second)
		const failed = `FAILURE {"exc_type": "TimeLimitExceeded", "exc_message": [60], "exc_module": "billiard.exceptions"}`
		b.wantResult(id, failed)
		b.wantResult(waiting, "SUCCESS 3") // the slot was replaced
		b.wantLog("Hard time limit (60s) exceeded for app.block[" + id + "]")
		b.wantLog("Task handler raised error: TimeLimitExceeded(60)")
		b.wantLog("TestHardTimeLimit") // the stack
		if s := b.w.Stats(); s.Active != 0 || s.Abandoned != 1 || s.AbandonedTotal != 1 {
			t.Errorf("stats = %+v, want one abandoned handler", s)
		}
		b.sleep(time.Hour)
		if !done.Load() || updated == nil {
			t.Errorf("the handler has returned: %t; UpdateState after the end: %v", done.Load(), updated)
		}
		if s := b.w.Stats(); s.Abandoned != 0 || s.AbandonedTotal != 1 {
			t.Errorf("stats = %+v, want none abandoned any more", s)
		}
		b.wantResult(id, failed)
		b.wantEventsInAnyOrder("failed TimeLimitExceeded", "received", "received", "started", "started", "succeeded")
	})
}

func TestHardTimeLimitWithoutAcknowledgement(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var runs atomic.Int32
		b.reg.Register("app.block", func() {
			if runs.Add(1) == 1 {
				time.Sleep(time.Hour)
			}
		}, tasks.TimeLimit(time.Minute), tasks.AcksLate(true), tasks.AcksOnTimeout(false))
		b.start()
		id := b.send(canvas.Sig("app.block"))
		b.sleep(2 * time.Hour) // the first handler has returned, too
		b.wantResult(id, "SUCCESS null")
		b.wantEventsInAnyOrder("failed TimeLimitExceeded", "received", "received", "rejected", "started", "started", "succeeded")
		b.wantQueued(0, 0)
	})
}

// An abandoned handler that ends its goroutine is not answered for twice.
func TestAbandonedHandlerEndsItsGoroutine(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.block", func() { time.Sleep(time.Hour); runtime.Goexit() }, tasks.TimeLimit(time.Minute))
		b.start()
		b.send(canvas.Sig("app.block"))
		b.sleep(2 * time.Hour)
		b.wantEvents("received", "started", "failed TimeLimitExceeded")
		if s := b.w.Stats(); s.Abandoned != 0 || s.AbandonedTotal != 1 {
			t.Errorf("stats = %+v", s)
		}
	})
}

func TestResize(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.sleep", func() { time.Sleep(time.Minute) })
		b.start()
		active := func(want int) {
			t.Helper()
			if s := b.w.Stats(); s.Active != want {
				t.Errorf("%d handlers run, want %d", s.Active, want)
			}
		}
		for range 12 {
			b.send(canvas.Sig("app.sleep"))
		}
		active(2)
		if err := b.w.Operations().Resize(5); err != nil {
			t.Fatal(err)
		}
		b.sleep(time.Second)
		active(5)
		if err := b.w.Operations().Resize(1); err != nil {
			t.Fatal(err)
		}
		b.sleep(time.Second)
		active(5) // those that run go on
		b.sleep(time.Minute)
		active(1)
		if err := b.w.Operations().Resize(0); err == nil {
			t.Error("a worker without slots")
		}
		b.sleep(time.Hour)
		b.wantQueued(0, 0)
		active(0)
	})
}

func TestUpdateState(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var outside, unencodable error
		b.reg.Register("app.work", func(ctx context.Context) (string, error) {
			if err := tasks.UpdateState(ctx, "PROGRESS", map[string]any{"done": 0.5}); err != nil {
				return "", err
			}
			unencodable = tasks.UpdateState(ctx, "PROGRESS", func() {})
			time.Sleep(time.Minute)
			return "done", nil
		}, tasks.TrackStarted(true))
		b.start()
		id := b.send(canvas.Sig("app.work"))
		b.wantResult(id, `PROGRESS {"done": 0.5}`) // after STARTED
		b.sleep(time.Minute)
		b.wantResult(id, `SUCCESS "done"`)
		if outside = tasks.UpdateState(t.Context(), "PROGRESS", nil); !errors.Is(outside, tasks.ErrOutsideTask) {
			t.Errorf("outside of a task: %v", outside)
		}
		if unencodable == nil {
			t.Error("meta without a JSON form was stored")
		}
	})
}
