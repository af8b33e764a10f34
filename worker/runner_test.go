package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// runnerBench is a runner without a worker: it notes what is asked of others.
type runnerBench struct {
	*runner
	mu         sync.Mutex
	said       []string
	refuse     string // the id of a request that is revoked
	ackFails   bool
	cancel     context.CancelCauseFunc
	loses      string // the id of a request that is lost as it is marked
	feeding    sync.WaitGroup
	stopped    chan struct{}
	registered *tasks.Registry
}

func (b *runnerBench) say(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, text)
}

// take returns what was said since the last call.
func (b *runnerBench) take() []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.said
	b.said = nil
	return said
}

func (b *runnerBench) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := b.take(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// ending says how a task ended.
func ending(end *outcome) string {
	if end.exception != nil {
		return end.exception.Repr()
	}
	return string(stateOf(end))
}

// withRunner runs a test in a bubble with a runner of one slot for Go handlers and one for an
// executor named "other".
func withRunner(t *testing.T, test func(t *testing.T, b *runnerBench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &runnerBench{stopped: make(chan struct{}), registered: tasks.NewRegistry()}
		noStart := make(chan struct{})
		log := taskLog{slog.New(slog.DiscardHandler)}
		cfg := &Config{
			Concurrency: 1, PrefetchMultiplier: 4,
			Executors: map[string]ExecutorConfig{"other": {Executor: goroutines{}, InProcess: true, Concurrency: 1}},
		}
		b.runner = newRunner(cfg, false, runnerDeps{
			decoder: &protocol.Decoder{},
			log:     log, leases: &leases{}, noStart: noStart,
			refused: func(r *request) bool {
				if r.ID == b.refuse {
					b.say("refused " + r.ID)
				}
				return r.ID == b.refuse
			},
			serves:     func(string) bool { return true },
			passOn:     func(s settlement) settlement { return s },
			unreadable: func(r *request, _ error) { b.say("unreadable " + r.ID) },
			finished:   func(*request) bool { return false },
			ack: func(_ context.Context, requests []*request, _ []string) bool {
				for _, r := range requests {
					b.say("ack " + r.ID)
				}
				return !b.ackFails
			},
			mark:      func(_ context.Context, r *request) { r.lost.Store(r.ID == b.loses) },
			begun:     func(_ context.Context, r *request, _ int) { b.say("begun " + r.ID) },
			answers:   &answers{outcomes: &outcomes{now: time.Now, decoder: &protocol.Decoder{}}, log: log, hooks: &hooks{}},
			settle:    func(s settlement) { b.say(s.req.ID + " " + ending(s.end)) },
			unstarted: &givenBack{log: log},
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		b.cancel = cancel
		b.start(ctx, t.Context(), &b.feeding, b.stopped)
		test(t, b)
		close(noStart)
		close(b.stopped)
		b.stop()
		b.close()
		cancel(tasks.ErrShutdown)
		b.feeding.Wait()
		b.running.Wait()
	})
}

// push has a request run by an executor, with a function as its handler.
func (b *runnerBench) push(executor, id string, late bool, limits timeLimits, fn func(ctx context.Context) error) *request {
	name := "app." + id
	b.registered.Register(name, func(ctx context.Context) error { return fn(ctx) })
	entry, _ := b.registered.Lookup(name)
	r := &request{tag: id, acksLate: late, task: &taskConfig{entry: entry, pool: b.pool(executor)}}
	r.Task = &protocol.Task{Name: name, ID: id}
	r.task.limits.Store(&limits)
	r.task.pool.backlog.push(r)
	return r
}

func nothing(context.Context) error { return nil }

func TestRunnerAcknowledgesBeforeItRuns(t *testing.T) {
	withRunner(t, func(t *testing.T, b *runnerBench) {
		b.push("", "early", false, timeLimits{}, nothing)
		b.expect(t, "ack early", "begun early", "early SUCCESS")
		b.push("", "late", true, timeLimits{}, func(context.Context) error { return errors.New("bad") })
		b.expect(t, "begun late", "late Exception('bad')")
		b.refuse = "revoked"
		b.push("", "revoked", false, timeLimits{}, nothing)
		b.expect(t, "refused revoked")
		b.ackFails = true
		r := b.push("", "unsure", false, timeLimits{}, nothing)
		b.expect(t, "ack unsure")
		if left := b.unstarted.take(); !slices.Equal(left, []*request{r}) {
			t.Errorf("%v is given back", left)
		}
	})
}

// What is lost while the broker is told that it is about to start does not start.
func TestRunnerBeginsNothingLost(t *testing.T) {
	withRunner(t, func(t *testing.T, b *runnerBench) {
		b.loses = "lost"
		b.push("", "lost", true, timeLimits{}, nothing)
		b.push("", "next", true, timeLimits{}, nothing)
		b.expect(t, "begun next", "next SUCCESS")
	})
}

func TestRunnerStopsWhatRuns(t *testing.T) {
	withRunner(t, func(t *testing.T, b *runnerBench) {
		stubborn := func(context.Context) error { time.Sleep(time.Hour); return nil }
		obedient := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		b.push("", "soft", true, timeLimits{soft: time.Second, hard: time.Minute}, obedient)
		time.Sleep(2 * time.Second)
		b.expect(t, "begun soft", "soft SoftTimeLimitExceeded()")
		b.push("", "hard", true, timeLimits{hard: time.Minute}, stubborn)
		b.push("", "next", true, timeLimits{}, nothing)
		time.Sleep(time.Minute)
		b.expect(t, "begun hard", "hard TimeLimitExceeded(60)", "begun next", "next SUCCESS")
		b.push("", "ended", true, timeLimits{}, stubborn)
		b.expect(t, "begun ended")
		b.terminate(15, func(r *request) bool { return r.ID == "ended" })
		time.Sleep(terminateGrace / 2)
		b.expect(t)
		time.Sleep(terminateGrace)
		b.expect(t, "ended TaskRevokedError('terminated')")
		if now, total := b.abandoned(); now != 2 || total != 2 {
			t.Errorf("%d of %d abandoned handlers still run", now, total)
		}
		time.Sleep(time.Hour)
		b.expect(t)
		if now, _ := b.abandoned(); now != 0 {
			t.Errorf("%d abandoned handlers still run", now)
		}
	})
}

func TestRunnerLeavesNothingBehind(t *testing.T) {
	withRunner(t, func(t *testing.T, b *runnerBench) {
		end := make(chan struct{})
		runs := b.push("", "runs", true, timeLimits{}, func(context.Context) error { <-end; return nil })
		waits := b.push("", "waits", true, timeLimits{}, nothing)
		b.expect(t, "begun runs")
		if b.busy() == false || !slices.Equal(b.active(), []*request{runs}) || !slices.Equal(b.list(), []*request{waits}) {
			t.Errorf("busy %t; %v active, %v waiting", b.busy(), b.active(), b.list())
		}
		left := b.abandonRunning()
		if !slices.Equal(left, []*request{runs}) {
			t.Errorf("%v was abandoned", left)
		}
		b.expect(t, "begun waits", "waits SUCCESS") // in a new slot
		close(end)
		b.expect(t)
	})
}

// Every executor has room of its own; one without tasks wants none.
func TestRunnerHasRoomForEveryExecutor(t *testing.T) {
	withRunner(t, func(t *testing.T, b *runnerBench) {
		end := make(chan struct{})
		block := func(context.Context) error { <-end; return nil }
		check := func(want ...room) {
			t.Helper()
			if got := b.rooms(); !slices.Equal(got, want) {
				t.Errorf("rooms: %+v, want %+v", got, want)
			}
		}
		check(room{want: 4, free: 4}, room{want: 4, free: 4})
		r := b.push("other", "a", true, timeLimits{}, block)
		synctest.Wait()
		check(room{want: 4, free: 4}, room{want: 3, free: 3})
		if b.crowded(r) {
			t.Error("there is no room for a third")
		}
		for _, id := range []string{"b", "c", "d"} {
			b.push("other", id, true, timeLimits{}, block)
		}
		mine := b.push("", "e", true, timeLimits{}, nothing)
		synctest.Wait()
		check(room{want: 4, free: 4}, room{})
		if !b.crowded(r) || b.crowded(mine) {
			t.Errorf("crowded: %t and %t", b.crowded(r), b.crowded(mine))
		}
		b.serves = func(executor string) bool { return executor != "" }
		check(room{absent: true}, room{})
		close(end)
	})
}
