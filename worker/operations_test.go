package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// What a worker says it holds, and where.
func TestWhatAWorkerHolds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Concurrency = 1
		release := make(chan struct{})
		b.reg.Register("app.wait", func(any) { <-release }, tasks.Params("n=None"))
		b.start()
		o := b.w.Operations()
		b.send(named("wait"))
		b.send(canvas.Sig("app.wait").Set(canvas.TaskID("reserved")))
		b.send(canvas.Sig("app.wait").Set(canvas.TaskID("later"), canvas.Countdown(10*time.Second)))
		b.send(canvas.Sig("app.wait").Set(canvas.TaskID("much later"), canvas.Countdown(240*time.Hour)))
		scheduled, err := o.Scheduled(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		show := func(infos []worker.TaskInfo) (all []string) {
			for _, info := range infos {
				all = append(all, fmt.Sprintf("%s %s %v %v", info.ID, info.State, info.PID > 0, info.Acknowledged))
			}
			return all
		}
		for _, part := range []struct {
			name string
			got  []worker.TaskInfo
			want []string
		}{
			{"active", o.Active(), []string{"wait active true true"}},
			{"reserved", o.Reserved(), []string{"reserved reserved false false"}},
			{"scheduled", scheduled, []string{"later scheduled false false", "much later scheduled false false"}},
			{
				"found", o.Find("later", "wait", "nobody", "reserved"),
				[]string{"later scheduled false false", "wait active true true", "reserved reserved false false"},
			},
		} {
			if got := show(part.got); !slices.Equal(got, part.want) {
				t.Errorf("%s: %q, want %q", part.name, got, part.want)
			}
		}
		if few, err := o.Scheduled(t.Context(), 1); err != nil || len(few) != 1 {
			t.Errorf("at most 1 scheduled: %d, %v", len(few), err)
		}
		if e := o.Executors(); len(e) != 1 || e[0].Active != 1 || e[0].Reserved != 1 || e[0].Slots != 1 {
			t.Errorf("executors = %+v", e)
		}
		close(release)
		b.sleep(2 * time.Minute)
	})
}

func TestQueuesOfAWorker(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		l := b.echoes("app.do")
		b.start()
		o := b.w.Operations()
		if err := o.AddQueue(t.Context(), broker.Queue{Name: "more"}); err != nil {
			t.Fatal(err)
		}
		b.send(canvas.Sig("app.do", 1).Set(canvas.Queue("more")))
		if err := o.CancelQueue(t.Context(), "more"); err != nil {
			t.Fatal(err)
		}
		b.send(canvas.Sig("app.do", 2).Set(canvas.Queue("more")))
		l.want(t, "app.do [1]")
		if queues := b.w.Queues(); len(queues) != 1 || queues[0].Name != queue {
			t.Errorf("queues = %v", queues)
		}
	})
}

func TestQueuesThatCannotChange(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Consumer = &scripted{}
		b.start()
		o := b.w.Operations()
		for _, err := range []error{o.AddQueue(t.Context(), broker.Queue{Name: "more"}), o.CancelQueue(t.Context(), queue)} {
			if err == nil || !strings.Contains(err.Error(), "cannot be changed") {
				t.Errorf("a consumer that cannot change its queues: %v", err)
			}
		}
		if queues := b.w.Queues(); queues != nil {
			t.Errorf("queues = %v", queues)
		}
	})
}

func TestLimitsOfATaskAreChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		hard := time.Hour
		b.cfg.Defaults.TimeLimit = &hard
		b.reg.Register("app.slow", func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Minute):
				return nil
			}
		})
		b.start()
		o := b.w.Operations()
		if hard, soft := o.TimeLimits(); hard != time.Hour || soft != 0 {
			t.Errorf("limits of all tasks = %v, %v", hard, soft)
		}
		if err := o.SetTimeLimits("app.slow", time.Second, 0); err != nil {
			t.Fatal(err)
		}
		b.send(named("slow"))
		b.sleep(2 * time.Second)
		b.wantResult("slow", `FAILURE {"exc_type": "SoftTimeLimitExceeded", "exc_message": [], "exc_module": "billiard.exceptions"}`)
		for what, err := range map[string]error{
			"time limits of an unknown task": o.SetTimeLimits("app.missing", 0, 0), "rate limit of an unknown task": o.SetRateLimit("app.missing", "1/s"),
		} {
			if !errors.Is(err, worker.ErrUnknownTask) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for what, err := range map[string]error{
			"a negative limit": o.SetTimeLimits("app.slow", -1, 0), "no rate": o.SetRateLimit("app.slow", "often"),
			"no slots": o.Resize(0), "an unknown executor": o.ResizeExecutor("python", 1), "no slots there": o.ResizeExecutor("", 0),
		} {
			if err == nil {
				t.Errorf("%s is accepted", what)
			}
		}
		if err := errors.Join(o.ResizeExecutor("", 3), o.Restart(t.Context())); err != nil || b.w.Concurrency() != 3 {
			t.Errorf("%d slots, %v", b.w.Concurrency(), err)
		}
	})
}

// What registered tasks are like, in Python's words.
func TestTaskAttributes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.plain", func() {})
		b.reg.Register("app.rich", func() {}, tasks.RateLimit("5/m"), tasks.MaxRetries(7), tasks.RetryDelay(90*time.Second),
			tasks.TimeLimit(time.Minute), tasks.SoftTimeLimit(1500*time.Millisecond), tasks.AcksLate(true), tasks.AcksOnFailure(false),
			tasks.IgnoreResult(true), tasks.TrackStarted(true), tasks.Trail(false))
		b.reg.Register("app.endless", func() {}, tasks.MaxRetries(-1))
		b.start()
		o := b.w.Operations()
		for _, tt := range []struct{ task, attribute, want string }{
			{"app.plain", "name", "app.plain"},
			{"app.plain", "rate_limit", ""},
			{"app.plain", "max_retries", "3"},
			{"app.plain", "default_retry_delay", "180"},
			{"app.plain", "time_limit", ""},
			{"app.plain", "soft_time_limit", ""},
			{"app.plain", "serializer", "json"},
			{"app.plain", "throws", "()"},
			{"app.plain", "acks_late", "False"},
			{"app.plain", "acks_on_failure_or_timeout", "True"},
			{"app.plain", "reject_on_worker_lost", ""},
			{"app.plain", "send_events", "True"},
			{"app.plain", "trail", "True"},
			{"app.plain", "nonsense", ""},
			{"app.missing", "name", ""},
			{"app.endless", "max_retries", ""},
			{"app.rich", "rate_limit", "5/m"},
			{"app.rich", "max_retries", "7"},
			{"app.rich", "default_retry_delay", "90"},
			{"app.rich", "time_limit", "60"},
			{"app.rich", "soft_time_limit", "1.5"},
			{"app.rich", "acks_late", "True"},
			{"app.rich", "acks_on_failure", "False"},
			{"app.rich", "acks_on_timeout", "True"},
			{"app.rich", "acks_on_failure_or_timeout", "False"},
			{"app.rich", "ignore_result", "True"},
			{"app.rich", "store_errors_even_if_ignored", "False"},
			{"app.rich", "track_started", "True"},
			{"app.rich", "trail", "False"},
		} {
			if got, ok := o.TaskAttribute(tt.task, tt.attribute); got != tt.want || ok != (tt.want != "") {
				t.Errorf("%s.%s = %q, %v; want %q", tt.task, tt.attribute, got, ok, tt.want)
			}
		}
		own := []string{"app.endless", "app.plain", "app.rich"}
		if got := o.TaskNames(false); !slices.Equal(got, own) {
			t.Errorf("names = %q", got)
		}
		if got := o.TaskNames(true); !slices.IsSorted(got) || !slices.Contains(got, "celery.chord_unlock") || len(got) != len(own)+9 {
			t.Errorf("names with Celery's own = %q", got)
		}
	})
}

// A worker's own words on itself.
func TestAWorkerOnItself(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		begin := time.Now()
		b.reg.Register("app.do", func() {})
		w, err := worker.New(withConsumer(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Ready(); err == nil || err.Error() != "not started" {
			t.Errorf("before its start a worker is ready: %v", err)
		}
		b.start()
		b.send(named("do"))
		b.send(canvas.Sig("app.do").Set(canvas.Shadow("other")))
		b.sleep(time.Minute)
		if err := b.w.Ready(); err != nil || b.w.Hostname() != "celery@test" || b.w.Uptime() != time.Since(begin) {
			t.Errorf("ready: %v, %s, up for %v", err, b.w.Hostname(), b.w.Uptime())
		}
		byName, all := b.w.Totals()
		if all != 2 || byName["app.do"] != 1 || byName["other"] != 1 {
			t.Errorf("totals = %v, %d", byName, all)
		}
		if n := b.w.Operations().Prefetch(); n != 8 {
			t.Errorf("prefetch = %d", n)
		}
		if b.w.Decoder() == nil || b.w.Serializer() != nil || b.w.Clock() == nil {
			t.Error("a worker without a decoder or a clock, or with a serializer besides JSON")
		}
		b.warm()
		if err := b.w.Ready(); err == nil {
			t.Error("after its end the worker is ready")
		}
	})
}

func withConsumer(b *bench) worker.Config {
	cfg := b.cfg
	cfg.Consumer = b.broker.Consumer(queue)
	return cfg
}
