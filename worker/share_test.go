package worker_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

const tenth = tasks.WholeShare / 10

// taskIDs returns ids of tasks that a tenth takes, or leaves.
func taskIDs(n int, taken bool) (ids []string) {
	for i := 0; len(ids) < n; i++ {
		if id := fmt.Sprint("id-", i); tenth.Takes(id) == taken {
			ids = append(ids, id)
		}
	}
	return ids
}

// What is in the share runs; the rest is left or forwarded to other workers, whatever becomes of unknown tasks here.
func TestShareLeavesTheRest(t *testing.T) {
	for policy, want := range map[string]string{"fail": "left", "park": "left", "leave": "left", "forward:python": "forwarded", "forward:celery": "left"} {
		t.Run(policy, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				var err error
				if b.cfg.Unknown, err = tasks.ParseUnknownPolicy(policy); err != nil {
					t.Fatal(err)
				}
				b.reg.Register("app.add", add)
				b.cfg.Shares = map[string]tasks.Share{"app.add": tenth}
				b.start()
				in, out := taskIDs(3, true), taskIDs(1, false)
				for _, id := range in {
					b.send(canvas.Sig("app.add", 1, 2).Set(canvas.TaskID(id)))
					b.wantResult(id, "SUCCESS 3")
				}
				b.send(canvas.Sig("app.add", 1, 2).Set(canvas.TaskID(out[0]), canvas.Countdown(time.Minute)))
				b.sleep(time.Minute)
				if b.wantResult(out[0], ""); b.countEvents(want) == 0 || b.countEvents("received") != len(in) {
					t.Errorf("events: %q", b.events.seen)
				}
				if want == "left" {
					b.wantLog("which is not in this worker's share")
					b.wantLog("no other worker takes it from queue celery")
					if n := b.countLog("no other worker takes it"); n != 1 {
						t.Errorf("it is told %d times in a minute", n)
					}
					if err := b.w.Operations().SetShare("app.add", tasks.WholeShare); err != nil {
						t.Fatal(err)
					}
					b.sleep(10 * time.Second)
					b.wantResult(out[0], "SUCCESS 3")
				}
			})
		})
	}
}

// Where another executor has the task, too, the rest runs there, with its options; both together keep one rate.
func TestShareBesideAnExecutor(t *testing.T) {
	var mu sync.Mutex
	ran := map[string]string{}
	note := func(id, where string) {
		mu.Lock()
		defer mu.Unlock()
		ran[id] = where
	}
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"app.both": func(p *process, run *worker.Run) worker.Outcome {
			note(run.ID, "python")
			return p.works(run, time.Millisecond)
		},
	}}
	reset := func() {
		mu.Lock()
		defer mu.Unlock()
		clear(ran)
	}
	opts := map[string][]tasks.Option{"app.both": {tasks.AcksLate(true)}}
	withProcesses(t, 2, opts, e, func(t *testing.T, b *bench) {
		b.reg.Register("app.both", func(ctx context.Context) { note(tasks.Current(ctx).ID, "go") })
		b.cfg.Shares = map[string]tasks.Share{"app.both": tenth}
		b.start()
		in, out := taskIDs(20, true), taskIDs(20, false)
		want := func(inShare, rest string) {
			t.Helper()
			reset()
			for _, id := range slices.Concat(in, out) {
				b.send(canvas.Sig("app.both").Set(canvas.TaskID(id)))
			}
			b.sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			for _, id := range in {
				if ran[id] != inShare {
					t.Errorf("%s, which is in the share, ran in %q, want %q", id, ran[id], inShare)
				}
			}
			for _, id := range out {
				if ran[id] != rest {
					t.Errorf("%s, which is in the rest, ran in %q, want %q", id, ran[id], rest)
				}
			}
			b.wantQueued(0, 0)
		}
		ops := b.w.Operations()
		dial := func(share tasks.Share) {
			t.Helper()
			if err := ops.SetShare("app.both", share); err != nil {
				t.Fatal(err)
			}
			if all := b.w.Shares(); !maps.Equal(all, map[string]tasks.Share{"app.both": share}) {
				t.Errorf("shares = %v", all)
			}
		}
		want("go", "python")
		dial(0)
		want("python", "python")
		if err := ops.Restart(t.Context()); err != nil { // what operators have set stays
			t.Fatal(err)
		}
		want("python", "python")
		dial(tasks.WholeShare)
		want("go", "go")
		dial(tenth)
		want("go", "python")
		if executor, ok := ops.Beside("app.both"); !ok || executor != "python" {
			t.Errorf("beside: %q, %v", executor, ok)
		}
		if b.countEvents("left")+b.countEvents("forwarded") > 0 {
			t.Errorf("messages went to other workers: %q", b.events.seen)
		}
		if err := ops.SetRateLimit("app.both", "1/s"); err != nil {
			t.Fatal(err)
		}
		reset()
		for _, id := range slices.Concat(in[:5], out[:5]) {
			b.send(canvas.Sig("app.both").Set(canvas.TaskID(id)))
		}
		b.sleep(5*time.Second + 100*time.Millisecond)
		mu.Lock()
		n := len(ran)
		mu.Unlock()
		if n != 6 {
			t.Errorf("%d of 10 have run in five seconds, at one a second", n)
		}
		b.sleep(10 * time.Second)
	})
}

// A step of a chain that is not in the share does not run here because its predecessor did.
func TestShareOfSteps(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.first", func() int { return 1 })
		b.reg.Register("app.add", add)
		b.cfg.Shares = map[string]tasks.Share{"app.add": tenth}
		b.start()
		in, out := taskIDs(1, true)[0], taskIDs(1, false)[0]
		for _, id := range []string{in, out} {
			b.send(canvas.Chain(canvas.Sig("app.first"), canvas.Sig("app.add", 1).Set(canvas.TaskID(id))))
		}
		b.sleep(time.Second)
		b.wantResult(in, "SUCCESS 2")
		b.wantResult(out, "")
	})
}

func TestSharesThatCannotBe(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Consumer = b.broker.Consumer(queue)
		b.cfg.Shares = map[string]tasks.Share{"a": -1, "b": tasks.WholeShare + 1}
		if _, err := worker.New(b.cfg); err == nil || strings.Count(err.Error(), "is not from 0% to 100%") != 2 {
			t.Errorf("shares out of bounds: %v", err)
		}
		b.cfg.Shares, b.cfg.Consumer = nil, nil
		b.start()
		if err := b.w.Operations().SetShare("no.such", 0); err == nil || !strings.Contains(err.Error(), "unknown task") {
			t.Errorf("unknown task: %v", err)
		}
		if err := b.w.Operations().SetShare("no.such", tasks.WholeShare+1); err == nil || !strings.Contains(err.Error(), "100%") {
			t.Errorf("too much: %v", err)
		}
	})
}
