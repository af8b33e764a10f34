package worker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// A retry takes the headers along that a producer has added, but not those in which
// RabbitMQ says that a message was a dead letter.
func TestHeadersOfARetry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var seen []string
		b.reg.Register("app.again", func(ctx context.Context) error {
			current := tasks.Current(ctx)
			seen = append(seen, fmt.Sprintf("%d %q", current.Retries, slices.Sorted(maps.Keys(current.CustomHeaders()))))
			if current.Retries == 0 {
				return tasks.Retry(nil, tasks.RetryCountdown(0))
			}
			return nil
		})
		b.start()
		b.send(named("again").Set(canvas.Headers(map[string]any{"own": 1, "x-death": []any{}, "x-first-death-queue": "q", "y-death": 2})))
		if want := []string{`0 ["own" "x-death" "x-first-death-queue" "y-death"]`, `1 ["own" "y-death"]`}; !slices.Equal(seen, want) {
			t.Errorf("headers were %q, want %q", seen, want)
		}
	})
}

// What a retry changes of a task.
func TestWhatARetryChanges(t *testing.T) {
	at := time.Date(2000, 1, 1, 0, 1, 30, 0, time.UTC) // virtual time begins 90 s before
	for _, tt := range []struct {
		name   string
		opts   []tasks.RetryOption
		second string // arguments of the second run
		after  time.Duration
		reason string
	}{
		{"nothing", nil, "[1] {x: 2}", 3 * time.Minute, "Retry in 180s"},
		{"when", []tasks.RetryOption{tasks.RetryCountdown(1500 * time.Millisecond)}, "[1] {x: 2}", 1500 * time.Millisecond, "Retry in 1.5s"},
		{"at", []tasks.RetryOption{tasks.RetryETA(at)}, "[1] {x: 2}", 90 * time.Second, "Retry at 2000-01-01 00:01:30+00:00"},
		{"arguments", []tasks.RetryOption{tasks.RetryArgs(5), tasks.RetryCountdown(0)}, "[5] {x: 2}", 0, "Retry in 0s"},
		{
			"keyword arguments",
			[]tasks.RetryOption{tasks.RetryKwargs(map[string]any{"x": 6}), tasks.RetryCountdown(0)},
			"[1] {x: 6}", 0, "Retry in 0s",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				begin := time.Now()
				var second string
				var after time.Duration
				b.reg.Register("app.again", func(ctx context.Context, n, x int) error {
					if tasks.Current(ctx).Retries == 0 {
						return tasks.Retry(nil, tt.opts...)
					}
					second, after = fmt.Sprintf("[%d] {x: %d}", n, x), time.Since(begin)
					return nil
				}, tasks.Params("n, x"))
				b.start()
				b.send(named("again", 1).Kw(map[string]any{"x": 2}))
				b.wantLog("Task app.again[again] retry: " + tt.reason)
				b.sleep(5 * time.Minute)
				late := after - tt.after // what comes before its predecessor has ended waits for that
				if second != tt.second || late != 0 && late != 5*time.Millisecond {
					t.Errorf("ran again with %s after %v, want %s after %v", second, after, tt.second, tt.after)
				}
			})
		})
	}
}

// Arguments of a retry that have no JSON form reject the task.
func TestRetryWithImpossibleArguments(t *testing.T) {
	for name, opt := range map[string]tasks.RetryOption{
		"arguments":         tasks.RetryArgs(make(chan int)),
		"keyword arguments": tasks.RetryKwargs(map[string]any{"x": make(chan int)}),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.again", func([]any, map[string]any) error { return tasks.Retry(errors.New("busy"), opt) },
					tasks.Params("*args, **kwargs"))
				b.start()
				b.send(named("again"))
				if got := b.result("again"); !strings.HasPrefix(got, "FAILURE ") || !strings.Contains(got, "chan int") {
					t.Errorf("result = %s", got)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}

// What a retry asks for itself holds for it alone.
func TestOptionsOfARetry(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		expires := time.Now().Add(time.Hour)
		var second string
		b.reg.Register("app.again", func(ctx context.Context) error {
			current := tasks.Current(ctx)
			if current.Retries == 0 {
				return tasks.Retry(nil, tasks.RetryCountdown(0), tasks.RetryPriority(3), tasks.RetryExpires(expires),
					tasks.RetryTimeLimit(time.Minute), tasks.RetrySoftTimeLimit(30*time.Second))
			}
			deadline, _ := ctx.Deadline()
			second = fmt.Sprint(current.Priority, current.Expires.Equal(expires), current.TimeLimit, current.SoftTimeLimit, deadline.IsZero())
			time.Sleep(45 * time.Second)
			return context.Cause(ctx)
		})
		b.start()
		b.send(named("again"))
		b.sleep(2 * time.Minute)
		if want := fmt.Sprint(3, true, time.Minute, 30*time.Second, true); second != want {
			t.Errorf("the second run has %s, want %s", second, want)
		}
		b.wantResult("again", `FAILURE {"exc_type": "SoftTimeLimitExceeded", "exc_message": [], "exc_module": "billiard.exceptions"}`)
	})
}

// A retry without keyword arguments is one without any.
func TestRetryWithoutKeywordArguments(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.again", func(ctx context.Context, n int) (int, error) {
			if tasks.Current(ctx).Retries == 0 {
				return 0, tasks.Retry(nil, tasks.RetryCountdown(0), tasks.RetryKwargs(nil))
			}
			return n, nil
		}, tasks.Params("n=7"))
		b.start()
		b.send(named("again").Kw(map[string]any{"n": 1}))
		b.wantResult("again", "SUCCESS 7")
	})
}
