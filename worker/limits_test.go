package worker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// TestRateLimitsAsCelery compares start times with those of Celery's consumer and
// kombu's token bucket (scripts/capture_ratelimits.py).
func TestRateLimitsAsCelery(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/ratelimits.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Limit            string
		Arrivals, Starts []float64
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for i, tt := range cases {
		t.Run(fmt.Sprint(i, " ", tt.Limit), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				ran := b.noteRuns(tasks.RateLimit(tt.Limit))
				b.cfg.Concurrency = len(tt.Starts)
				b.start()
				for n, arrival := range tt.Arrivals {
					b.sleep(seconds(arrival) - time.Since(ran.start))
					b.send(note(fmt.Sprint(n), 0))
				}
				b.sleep(seconds(tt.Starts[len(tt.Starts)-1]) + time.Millisecond)
				for n, start := range tt.Starts {
					ran.wantOnce(t, fmt.Sprint(n), seconds(start)-time.Millisecond, 2*time.Millisecond)
				}
			})
		})
	}
}

// Limited tasks run in order; they hold no slot and no prefetch, so that others run.
func TestRateLimitedTasksDoNotBlockOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		b.reg.Register("app.limited", ran.note, tasks.RateLimit("1/s"))
		b.cfg.Concurrency, b.cfg.PrefetchMultiplier = 1, 1
		b.start()
		var limited []string
		for i := range 50 {
			limited = append(limited, fmt.Sprint(i))
			b.send(canvas.Sig("app.limited", limited[i]))
		}
		for i := range 20 {
			b.send(note(fmt.Sprint("other", i), 0))
			ran.wantOnce(t, fmt.Sprint("other", i), 0, time.Millisecond)
		}
		if s := b.w.Stats(); s.Limited != 49 || s.Reserved != 0 {
			t.Errorf("stats = %+v, want 49 limited", s)
		}
		b.sleep(time.Minute)
		order := slices.DeleteFunc(slices.Clone(ran.order), func(name string) bool { return len(name) > 2 })
		if !slices.Equal(order, limited) {
			t.Errorf("order = %v", order)
		}
		b.wantQueued(0, 0)
	})
}

func TestRateLimitAndETA(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns(tasks.RateLimit("1/s"))
		b.start()
		for i := range 3 {
			b.send(note(fmt.Sprint("later", i), time.Hour))
			b.send(note(fmt.Sprint("soon", i), 5*time.Second))
		}
		b.sleep(2 * time.Hour)
		for i := range 3 {
			ran.wantOnce(t, fmt.Sprint("soon", i), 5*time.Second+time.Duration(i)*time.Second, time.Millisecond)
			ran.wantOnce(t, fmt.Sprint("later", i), time.Hour+time.Duration(i)*time.Second, time.Millisecond)
		}
	})
}

// The rate is changed while tasks wait: up, down, lifted, and set again.
func TestRateLimitChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		b.start()
		set := func(limit string) {
			t.Helper()
			if err := b.w.Operations().SetRateLimit("app.note", limit); err != nil {
				t.Fatal(err)
			}
		}
		want := func(n int) {
			t.Helper()
			if got, _ := ran.count(); got != n {
				t.Errorf("%d tasks have run, want %d", got, n)
			}
		}
		if err := b.w.Operations().SetRateLimit("no.such", "1/s"); err == nil {
			t.Error("an unknown task can be limited")
		}
		if err := b.w.Operations().SetRateLimit("app.note", "fast"); err == nil {
			t.Error("a rate can be nonsense")
		}
		set("1/h")
		for i := range 100 {
			b.send(note(fmt.Sprint(i), 0))
		}
		want(1)
		set("10/s") // a new bucket has a token
		b.sleep(950 * time.Millisecond)
		want(1 + 10)
		set("1/m")
		b.sleep(119 * time.Second)
		want(11 + 2)
		set("0")
		b.sleep(time.Millisecond)
		want(100)
		for i := range 10 {
			b.send(note(fmt.Sprint("free", i), 0))
		}
		want(110)
		set("1/s")
		for i := range 3 {
			b.send(note(fmt.Sprint("again", i), 0))
		}
		want(111)
		b.sleep(time.Minute)
		want(113)
		set("")
		if _, twice := ran.count(); twice > 0 {
			t.Errorf("%d ran twice", twice)
		}
	})
}

func TestRateLimitsDisabled(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns(tasks.RateLimit("1/h"))
		b.cfg.DisableRateLimits = true
		b.start()
		if err := b.w.Operations().SetRateLimit("app.note", "1/m"); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			b.send(note(fmt.Sprint(i), 0))
		}
		if n, _ := ran.count(); n != 10 {
			t.Errorf("%d of 10 tasks ran", n)
		}
	})
}

// Beyond what runs within eleven seconds limited messages are parked. They keep their order and
// their rate, and a rate that is raised takes effect on them within a minute.
func TestManyRateLimitedTasks(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const n = 3000
		ran := b.noteRuns(tasks.RateLimit("100/s"))
		for i := range n {
			b.send(note(fmt.Sprint(i), 0))
		}
		b.start()
		if s := b.w.Stats(); s.Limited > 1100 || b.broker.Parked() < n-1200 {
			t.Errorf("%d wait in memory and %d are parked", s.Limited, b.broker.Parked())
		}
		b.send(canvas.Sig("app.note", "last"))
		b.sleep(31 * time.Second)
		for i := range n {
			ran.wantOnce(t, fmt.Sprint(i), time.Duration(i)*10*time.Millisecond, 20*time.Millisecond)
		}
		ran.wantOnce(t, "last", 30*time.Second, 100*time.Millisecond)
		if received := b.countEvents("received"); received != n+1 {
			t.Errorf("%d received events of %d tasks", received, n+1)
		}
		b.wantQueued(0, 0)
		b.wantParked(0, 0)
	})
}

func TestRateRaisedForParkedTasks(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const n = 1200
		ran := b.noteRuns(tasks.RateLimit("30/h"))
		for i := range n {
			b.send(note(fmt.Sprint(i), 0))
		}
		b.start()
		b.sleep(30*time.Minute + time.Second)
		if all, _ := ran.count(); all != 16 {
			t.Errorf("%d ran at 30/h in half an hour", all)
		}
		if err := b.w.Operations().SetRateLimit("app.note", "1000/s"); err != nil {
			t.Fatal(err)
		}
		b.sleep(2 * time.Minute)
		if all, twice := ran.count(); all != n || twice != 0 {
			t.Errorf("%d ran, %d of them twice", all, twice)
		}
		b.wantQueued(0, 0)
	})
}

// A rate so high that a thousand is less than what is looked ahead for: nothing is parked
// over and over.
func TestHighRateLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const n = 6000
		b.reg.Register("app.tick", func() {}, tasks.RateLimit("1000/s"))
		spy := &spy{Consumer: b.broker.Consumer(queue)}
		b.cfg.Consumer = spy
		for i := range n {
			b.publish(strings.Replace(unknownMessage(i), "no.such", "app.tick", 1))
		}
		b.start()
		b.sleep(7 * time.Second)
		if _, all := b.w.Totals(); all != n {
			t.Errorf("%d of %d ran", all, n)
		}
		if spy.parks > 2*n {
			t.Errorf("%d messages were parked %d times", n, spy.parks)
		}
	})
}

// Tasks that expire or are revoked while they wait for their turn do not run.
func TestLimitedAndThenNotRun(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns(tasks.RateLimit("1/m"))
		b.start()
		b.send(note("first", 0))
		call := note("expires", 0)
		call = call.Set(canvas.ExpiresAt(time.Now().Add(time.Second)))
		expired := b.send(call)
		revoked := b.send(note("revoked", 0))
		b.w.Operations().Revoke(t.Context(), revoked)
		b.sleep(time.Hour)
		b.wantResult(expired, expiredRecord)
		if all, _ := ran.count(); all != 1 {
			t.Errorf("%d ran", all)
		}
		b.wantQueued(0, 0)
	})
}
