package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// took is how long the worker goes on after stop was called.
func (b *bench) took(stop func()) time.Duration {
	start := time.Now()
	stop()
	<-b.ended
	d := time.Since(start)
	synctest.Wait()
	return d
}

// A backend that is away ends no shutdown later than a setting says, however many results
// wait for it; handlers that run are waited for.
func TestShutdownWhileTheBackendIsAway(t *testing.T) {
	for _, test := range []struct {
		name  string
		tasks int
		runs  time.Duration // of the handlers, from the beginning of the shutdown
		stop  func(*bench)
		most  time.Duration
	}{
		{"warm", 1, 0, (*bench).warm, 5 * time.Second},
		{"warm, slots stuck", 5000, 0, (*bench).warm, 5 * time.Second},
		{"warm, running", 2, time.Hour, (*bench).warm, time.Hour + 5*time.Second},
		{"cold", 1, 0, func(b *bench) { b.w.Abort() }, 2 * time.Second},
		{"cold, running", 2, time.Hour, func(b *bench) { b.w.Abort() }, 2 * time.Second},
		{"cold in a warm one", 2, time.Hour, func(b *bench) { b.warm(); b.w.Abort() }, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.nap", func() { time.Sleep(test.runs) })
				b.cfg.Store = &flaky{inner: b.results, broken: true}
				b.start()
				for range test.tasks {
					b.send(canvas.Sig("app.nap"))
				}
				took := b.took(func() { test.stop(b) })
				if took > test.most+time.Second || took < test.runs/2 && test.most > time.Hour {
					t.Errorf("the shutdown took %v", took)
				}
				if late := time.Since(b.w.EndsBy()); late < 0 || late > time.Second {
					t.Errorf("Run returned %v after EndsBy", late)
				}
				b.wantLog("Gave up trying to store results")
				b.sleep(test.runs) // the handlers return at last
			})
		})
	}
}

// As long as something can be written, a warm shutdown goes on.
func TestWarmShutdownGoesOnWhileItMakesProgress(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add)
		store := &flaky{inner: b.results, broken: true}
		b.cfg.Store = store
		b.start()
		id := b.send(canvas.Sig("app.add", 1, 2))
		b.warm()
		b.sleep(3 * time.Second)
		store.repair()
		<-b.ended
		b.wantResult(id, "SUCCESS 3")
	})
}

// A handler that gives up when its context is cancelled is treated as one that does not
// heed it: the state is RETRY, and nothing follows.
func TestColdShutdownOfPoliteHandlers(t *testing.T) {
	for name, give := range map[string]func(context.Context) error{
		"its context's error": func(ctx context.Context) error { return ctx.Err() },
		"its context's cause": context.Cause,
		"an error around it":  func(ctx context.Context) error { return fmt.Errorf("query: %w", ctx.Err()) },
		"an error of its own": func(context.Context) error { return errors.New("canceling statement due to user request") },
	} {
		for how, stop := range map[string]func(*bench){
			"abort":            func(b *bench) { b.w.Abort() },
			"shutdown timeout": (*bench).warm,
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bench) {
					b.cfg.ShutdownTimeout = time.Minute
					b.reg.Register("app.wait", func(ctx context.Context) error { <-ctx.Done(); return give(ctx) })
					b.reg.Register("app.errback", func() {})
					b.start()
					id := b.send(canvas.Sig("app.wait").LinkError(canvas.Sig("app.errback").Immutable()))
					stop(b)
					<-b.ended
					if got := b.result(id); !strings.HasPrefix(got, `RETRY {"exc_type": "Retry"`) {
						t.Errorf("result = %q", got)
					}
					b.wantQueued(0, 0) // no errback
				})
			})
		}
	}
}

// What a handler says it wants when it is stopped, it gets.
func TestColdShutdownHeedsOutcomes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.again", func(ctx context.Context) error {
			<-ctx.Done()
			return tasks.Retry(errors.New("stopped"), tasks.RetryCountdown(0))
		})
		b.reg.Register("app.done", func(ctx context.Context) int { <-ctx.Done(); return 7 })
		b.start()
		b.send(canvas.Sig("app.again"))
		done := b.send(canvas.Sig("app.done"))
		b.w.Abort()
		<-b.ended
		b.wantQueued(1, 0)
		b.wantResult(done, "SUCCESS 7")
	})
}

// AbortNow in the middle of a soft shutdown ends it, and the messages go back all the same.
func TestAbortNowEndsASoftShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		block := func() { time.Sleep(time.Hour) }
		b.reg.Register("app.early", block)
		b.reg.Register("app.late", block, tasks.AcksLate(true))
		b.cfg.SoftShutdownTimeout = time.Minute
		b.start()
		early := b.send(canvas.Sig("app.early"))
		b.send(canvas.Sig("app.late"))
		took := b.took(func() {
			b.w.Abort()
			b.sleep(10 * time.Second)
			b.w.AbortNow()
		})
		if took < 10*time.Second || took > 13*time.Second {
			t.Errorf("the shutdown took %v", took)
		}
		b.wantQueued(1, 0)
		if got := b.result(early); !strings.HasPrefix(got, `RETRY {"exc_type": "Retry"`) {
			t.Errorf("result = %q", got)
		}
		b.sleep(time.Hour) // the handlers return at last
	})
}
