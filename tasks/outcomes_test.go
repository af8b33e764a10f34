package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// autoRetried makes the outcome of an error under a task's policy.
func autoRetried(err error, retries int, opts ...tasks.Option) error {
	entry := register("shop.f", func() {}, opts...)
	return entry.Options.AutoRetry.Retry(err, retries)
}

// countdown is that of a retry; -1 when it has none.
func countdown(t *testing.T, err error) time.Duration {
	t.Helper()
	var retry *tasks.RetryError
	switch {
	case !errors.As(err, &retry):
		t.Fatalf("%v is no retry", err)
	case retry.Countdown == nil:
		return -1
	}
	return *retry.Countdown
}

// The delays are those of get_exponential_backoff_interval in Celery 5.7.
func TestAutoRetryDelays(t *testing.T) {
	t.Parallel()
	const s = time.Second
	tests := []struct {
		factor, most time.Duration
		retries      int
		want         time.Duration
	}{
		{s, 0, 0, s},
		{s, 0, 1, 2 * s},
		{s, 0, 5, 32 * s},
		{s, 0, 10, 600 * s},
		{s, 0, 1000, 600 * s},
		{5 * s, 100 * s, 0, 5 * s},
		{5 * s, 100 * s, 4, 80 * s},
		{5 * s, 100 * s, 5, 100 * s},
		{s / 2, 0, 3, 8 * s},
		{2500 * time.Millisecond, 0, 1, 4 * s},
		{700 * s, 0, 0, 600 * s},
	}
	for _, tt := range tests {
		opts := []tasks.Option{tasks.AutoRetry(nil), tasks.RetryBackoff(tt.factor), tasks.RetryJitter(false)}
		if tt.most > 0 {
			opts = append(opts, tasks.RetryBackoffMax(tt.most))
		}
		if got := countdown(t, autoRetried(errors.New("bad"), tt.retries, opts...)); got != tt.want {
			t.Errorf("%v of at most %v, retry %d: %v, want %v", tt.factor, tt.most, tt.retries, got, tt.want)
		}
	}
	if got := countdown(t, autoRetried(errors.New("bad"), 3, tasks.AutoRetry(nil))); got != -1 {
		t.Errorf("without a backoff: %v, want the task's own delay", got)
	}
}

// With jitter every whole second from 0 to the delay comes up.
func TestAutoRetryJitter(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]int{}
	for range 2000 {
		seen[countdown(t, autoRetried(errors.New("bad"), 2, tasks.AutoRetry(nil), tasks.RetryBackoff(time.Second)))]++
	}
	for second := range 5 {
		if seen[time.Duration(second)*time.Second] < 200 {
			t.Errorf("of 2000 delays %d are %d s", seen[time.Duration(second)*time.Second], second)
		}
	}
	if len(seen) != 5 {
		t.Errorf("delays %v", seen)
	}
}

func TestAutoRetryChooses(t *testing.T) {
	t.Parallel()
	bad, worse := errors.New("bad"), errors.New("worse")
	isWorse := func(err error) bool { return errors.Is(err, worse) }
	tests := []struct {
		name string
		err  error
		opts []tasks.Option
		want bool
	}{
		{"no policy", bad, nil, false},
		{"delays alone", bad, []tasks.Option{tasks.RetryBackoff(time.Second), tasks.RetryJitter(false)}, false},
		{"exemptions alone", bad, []tasks.Option{tasks.DontAutoRetry(isWorse)}, false},
		{"no exception to Python", tasks.Raise("SystemExit", ""), []tasks.Option{tasks.AutoRetry(nil)}, false},
		{"every error", bad, []tasks.Option{tasks.AutoRetry(nil)}, true},
		{"some", worse, []tasks.Option{tasks.AutoRetry(isWorse)}, true},
		{"others", bad, []tasks.Option{tasks.AutoRetry(isWorse)}, false},
		{"one of these", fmt.Errorf("it is %w", bad), []tasks.Option{tasks.AutoRetryOn(bad, worse)}, true},
		{"exempt", worse, []tasks.Option{tasks.AutoRetry(nil), tasks.DontAutoRetry(isWorse)}, false},
		{"ignore", tasks.Ignore(), []tasks.Option{tasks.AutoRetry(nil)}, false},
		{"reject", tasks.Reject(false), []tasks.Option{tasks.AutoRetry(nil)}, false},
	}
	for _, tt := range tests {
		got := autoRetried(tt.err, 0, tt.opts...)
		var retry *tasks.RetryError
		if errors.As(got, &retry) != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		if !errors.Is(got, tt.err) {
			t.Errorf("%s: the cause is gone from %v", tt.name, got)
		}
	}
	own := tasks.Retry(bad, tasks.RetryCountdown(time.Minute))
	if got := autoRetried(own, 0, tasks.AutoRetry(nil), tasks.RetryBackoff(time.Second)); countdown(t, got) != time.Minute {
		t.Errorf("a retry of the task's own: %v", got)
	}
}

func TestRetryOptions(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	err := tasks.Retry(nil, tasks.RetryETA(at), tasks.RetryExpires(at), tasks.MaxRetries(7), tasks.RetryQueue("q"), tasks.RetryPriority(3),
		tasks.RetryArgs(1, "x"), tasks.RetryKwargs(map[string]any{"k": 1}), tasks.RetryTimeLimit(time.Hour), tasks.RetrySoftTimeLimit(time.Minute))
	var r *tasks.RetryError
	if !errors.As(err, &r) {
		t.Fatal(err)
	}
	if !r.ETA.Equal(at) || !r.Expires.Equal(at) || *r.MaxRetries != 7 || r.Queue != "q" || *r.Priority != 3 ||
		len(r.Args) != 2 || !r.NewArgs || r.Kwargs["k"] != 1 || !r.NewKwargs || *r.TimeLimit != time.Hour || *r.SoftTimeLimit != time.Minute {
		t.Errorf("retry = %+v", r)
	}
}

func TestOptionsAreValidated(t *testing.T) {
	t.Parallel()
	tests := []struct {
		opts []tasks.Option
		want string
	}{
		{[]tasks.Option{tasks.RateLimit("often")}, "often"},
		{[]tasks.Option{tasks.RateLimit("1/d")}, "must be s, m or h"},
		{[]tasks.Option{tasks.RetryDelay(-1)}, "RetryDelay"},
		{[]tasks.Option{tasks.RetryBackoff(-1)}, "RetryBackoff"},
		{[]tasks.Option{tasks.TimeLimit(-1)}, "time limits"},
		{[]tasks.Option{tasks.TimeLimit(time.Second), tasks.SoftTimeLimit(time.Minute)}, "SoftTimeLimit must be less"},
	}
	for _, tt := range tests {
		got := func() (text string) {
			defer func() { text = fmt.Sprint(recover()) }()
			register("shop.f", func() {}, tt.opts...)
			return ""
		}()
		if !strings.Contains(got, tt.want) {
			t.Errorf("Register panics with %q, want %q", got, tt.want)
		}
	}
}

func TestErrback(t *testing.T) {
	t.Parallel()
	var got tasks.Failure
	entry := register("shop.on_error", func(_ context.Context, failed tasks.Failure) error {
		got = failed
		return nil
	}, tasks.Errback())
	req := request(`["the-id"]`, `{}`)
	req.Failed = &tasks.Failure{
		Request: &tasks.Request{Task: &protocol.Task{ID: "the-id"}}, Exception: &protocol.Exception{Type: "ValueError"}, Traceback: "tb",
	}
	if _, err := entry.Call(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	if got.Request.ID != "the-id" || got.Exception.Type != "ValueError" || got.Traceback != "tb" {
		t.Errorf("the errback was told %+v", got)
	}
	for _, bad := range []struct {
		fn   any
		opts []tasks.Option
	}{{func() {}, nil}, {func(context.Context, tasks.Failure) error { return nil }, []tasks.Option{tasks.Params("x")}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Register takes %T as an errback", bad.fn)
				}
			}()
			register("shop.on_error", bad.fn, append(bad.opts, tasks.Errback())...)
		}()
	}
}
