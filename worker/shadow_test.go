package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// ending is how a task ends in Python; Result is what it has returned.
type ending struct {
	worker.Settled
	Result string
}

// pythonEnds is an executor in which tasks end as is said of them, by name, after a millisecond.
func pythonEnds(ends map[string]ending) *processes {
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{}}
	for name, end := range ends {
		e.tasks[name] = func(p *process, run *worker.Run) worker.Outcome {
			tells := run.Shadowed()
			if o := p.works(run, time.Millisecond); o.Settled == nil {
				return o
			}
			o := worker.Outcome{Settled: &end.Settled}
			if tells && end.Result != "" {
				o.Result = json.RawMessage(end.Result)
			}
			return o
		}
	}
	return e
}

// shadowOf is what a worker tells of one task.
func (b *bench) shadowOf(task string) worker.Shadow {
	for _, s := range b.w.Shadows() {
		if s.Task == task {
			return s
		}
	}
	return worker.Shadow{Task: task}
}

func (b *bench) wantShadow(task string, want map[worker.ShadowOutcome]uint64) worker.Shadow {
	b.t.Helper()
	got := b.shadowOf(task)
	if !maps.Equal(got.Counts, want) {
		b.t.Errorf("shadows of %s: %v, want %v; differences: %+v", task, got.Counts, want, got.Differences)
	}
	return got
}

func returns(result string) ending {
	return ending{worker.Settled{State: protocol.Success, Repr: "'by Python'"}, result}
}

func endsAs(state protocol.State) ending { return ending{Settled: worker.Settled{State: state}} }

func raises(class string) ending {
	module, name := "builtins", class
	if i := strings.LastIndexByte(class, '.'); i >= 0 {
		module, name = class[:i], class[i+1:]
	}
	return ending{Settled: worker.Settled{State: protocol.Failure, Exception: &protocol.Exception{
		Module: module, Type: name, Message: []byte(`["in Python"]`), Representation: name + "('in Python')",
	}}}
}

// What comes of both is compared: results by their values, failures by their classes, all else by what it is.
func TestShadowsAreCompared(t *testing.T) {
	for name, c := range map[string]struct {
		python ending
		goes   func(context.Context) (any, error)
		opts   []tasks.Option
		want   worker.ShadowOutcome
		where  string
		said   [2]string
	}{
		"same result":     {python: returns(`{"total": 12.0, "of": ["tea"]}`), goes: func(context.Context) (any, error) { return map[string]any{"of": []string{"tea"}, "total": 12}, nil }, want: "same"},
		"no result":       {python: returns(`null`), goes: func(context.Context) (any, error) { return nil, nil }, want: "same"},
		"another result":  {python: returns(`{"total": 12.5}`), goes: func(context.Context) (any, error) { return map[string]any{"total": 12}, nil }, want: "different", where: "['total']", said: [2]string{"returned 12.5", "returned 12"}},
		"unencodable":     {python: endsAs(protocol.Success), goes: func(context.Context) (any, error) { return 1, nil }, want: "uncompared"},
		"garbage":         {python: returns(`{`), goes: func(context.Context) (any, error) { return 1, nil }, want: "uncompared"},
		"no JSON in Go":   {python: returns(`1`), goes: func(context.Context) (any, error) { return make(chan int), nil }, want: "different", said: [2]string{"returned 1", "raised EncodeError("}},
		"same class":      {python: raises("ValueError"), goes: func(context.Context) (any, error) { return nil, tasks.Raise("ValueError", "in Go") }, want: "same"},
		"another class":   {python: raises("ValueError"), goes: func(context.Context) (any, error) { return nil, tasks.Raise("KeyError", "in Go") }, want: "different", said: [2]string{"raised ValueError('in Python')", "raised KeyError('in Go')"}},
		"another module":  {python: raises("shop.Sold"), goes: func(context.Context) (any, error) { return nil, tasks.Raise("Sold", "") }, want: "different"},
		"no failure":      {python: raises("ValueError"), goes: func(context.Context) (any, error) { return 1, nil }, want: "different", said: [2]string{"raised ValueError", "returned 1"}},
		"panic":           {python: returns(`1`), goes: func(context.Context) (any, error) { panic("no") }, want: "different", said: [2]string{"returned 1", "raised RuntimeError('no')"}},
		"goexit":          {python: returns(`1`), goes: func(context.Context) (any, error) { runtime.Goexit(); return nil, nil }, want: "different", said: [2]string{"returned 1", "raised WorkerLostError("}},
		"both retry":      {python: endsAs(protocol.Retry), goes: func(context.Context) (any, error) { return nil, tasks.Retry(errors.New("no")) }, want: "same"},
		"auto retry":      {python: endsAs(protocol.Retry), goes: func(context.Context) (any, error) { return nil, errors.New("no") }, opts: []tasks.Option{tasks.AutoRetry(func(error) bool { return true })}, want: "same"},
		"retry in Go":     {python: returns(`1`), goes: func(context.Context) (any, error) { return nil, tasks.Retry(tasks.Raise("ValueError", "no")) }, want: "different", said: [2]string{"returned 1", "RETRY after ValueError('no')"}},
		"no more retries": {python: raises("ValueError"), goes: func(context.Context) (any, error) { return nil, tasks.Retry(tasks.Raise("ValueError", "no")) }, opts: []tasks.Option{tasks.MaxRetries(0)}, want: "same"},
		"too many":        {python: raises("celery.exceptions.MaxRetriesExceededError"), goes: func(context.Context) (any, error) { return nil, tasks.Retry(nil) }, opts: []tasks.Option{tasks.MaxRetries(0)}, want: "same"},
		"both ignore":     {python: endsAs(protocol.Ignored), goes: func(context.Context) (any, error) { return nil, tasks.Ignore() }, want: "same"},
		"both reject":     {python: ending{Settled: worker.Settled{State: protocol.Failure, Rejects: true}}, goes: func(context.Context) (any, error) { return nil, tasks.Reject(false) }, want: "same"},
	} {
		t.Run(name, func(t *testing.T) {
			withProcesses(t, 1, nil, pythonEnds(map[string]ending{"app.both": c.python}), func(t *testing.T, b *bench) {
				b.reg.Register("app.both", func(ctx context.Context, _ int) (any, error) { return c.goes(ctx) }, append(c.opts, tasks.Shadowable())...)
				b.cfg.Shadows = map[string]tasks.Share{"app.both": tasks.WholeShare}
				b.start()
				id := b.send(canvas.Sig("app.both", 7))
				b.sleep(time.Second)
				got := b.wantShadow("app.both", map[worker.ShadowOutcome]uint64{c.want: 1})
				if c.want != "different" {
					if len(got.Differences) > 0 || b.countLog("shadow") > 0 {
						t.Errorf("differences: %+v", got.Differences)
					}
					return
				}
				if len(got.Differences) != 1 {
					t.Fatalf("differences: %+v", got.Differences)
				}
				d := got.Differences[0]
				if d.TaskID != id || d.Where != c.where || !strings.HasPrefix(d.Python, c.said[0]) || !strings.HasPrefix(d.Go, c.said[1]) || d.Args != "[7]" && d.Args != "(7,)" || d.Kwargs != "{}" {
					t.Errorf("difference: %+v", d)
				}
				b.wantLog("The shadow of task app.both[" + id + "] differs")
			})
		})
	}
}

// A shadow changes nothing: neither what it sends, nor states, nor hooks, nor the outcome. It is told what it would be told otherwise.
func TestShadowsLeaveNoTrace(t *testing.T) {
	e := pythonEnds(map[string]ending{"app.both": {worker.Settled{State: protocol.Success, Record: []byte(`{"status": "SUCCESS", "result": "by Python"}`)}, `"done"`}})
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		ran := 0
		b.reg.Register("app.both", func(ctx context.Context) (string, error) {
			if !tasks.Shadowed(ctx) {
				t.Error("it does not know that it is a shadow")
			}
			ran++
			if err := tasks.UpdateState(ctx, "PROGRESS", 1); err != nil {
				t.Error(err)
			}
			if err := tasks.UpdateState(ctx, "PROGRESS", make(chan int)); err == nil {
				t.Error("a state without a JSON form is stored")
			}
			sent, err := tasks.Send(ctx, canvas.Sig("app.other"))
			if err != nil || sent.ID == "" {
				t.Errorf("sent: %+v, %v", sent, err)
			}
			if _, err := tasks.AddToChord(ctx, canvas.Sig("app.other")); err == nil {
				t.Error("it is no member of a chord")
			}
			if err := tasks.Replace(ctx, canvas.Sig("app.other")); !tasks.IsOutcome(err) {
				t.Errorf("replaced: %v", err)
			}
			return "done", nil
		}, tasks.Shadowable())
		b.reg.Register("app.other", func() { t.Error("what a shadow sends runs") })
		var calls calls
		b.reg.Connect(calls.hooks("", false))
		b.cfg.Shadows = map[string]tasks.Share{"app.both": tasks.WholeShare}
		b.start()
		calls.take()
		id := b.send(canvas.Sig("app.both"))
		b.sleep(time.Second)
		if b.wantShadow("app.both", map[worker.ShadowOutcome]uint64{worker.ShadowSame: 1}); ran != 1 {
			t.Errorf("the shadow ran %d times", ran)
		}
		b.wantResult(id, `SUCCESS "by Python"`)
		b.wantEvents("received", "started", "succeeded")
		b.wantQueued(0, 0)
		if got := calls.take(); strings.Count(fmt.Sprint(got), "prerun") > 1 || strings.Contains(fmt.Sprint(got), "app.other") {
			t.Errorf("hooks: %q", got)
		}
	})
}

// Which tasks cannot have shadows, and why; remote control is told the same.
func TestShadowsThatCannotBe(t *testing.T) {
	e := pythonEnds(map[string]ending{"app.both": {}, "app.silent": {}, "app.python": {}})
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		b.reg.Register("app.both", func() {}, tasks.Shadowable())
		b.reg.Register("app.silent", func() {})
		b.reg.Register("app.go", func() {}, tasks.Shadowable())
		b.cfg.Consumer = b.broker.Consumer(queue)
		cannot := map[string]string{
			"app.silent": "tasks.Shadowable()", "app.go": "no Python task of this name runs in this worker", "app.python": "no handler in Go", "app.none": "no handler in Go",
		}
		for task, why := range cannot {
			b.cfg.Shadows = map[string]tasks.Share{task: tasks.WholeShare}
			if _, err := worker.New(b.cfg); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v", task, err)
			}
		}
		b.cfg.Shadows = map[string]tasks.Share{"app.both": -1}
		if _, err := worker.New(b.cfg); err == nil || !strings.Contains(err.Error(), "is not from 0% to 100%") {
			t.Errorf("out of bounds: %v", err)
		}
		b.cfg.Shadows, b.cfg.Consumer = nil, nil
		b.start()
		cannot["app.none"] = "unknown task"
		for task, why := range cannot {
			if err := b.w.Operations().SetShadow(task, 1); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v", task, err)
			}
		}
		if err := b.w.Operations().SetShadow("app.both", -1); err == nil || !strings.Contains(err.Error(), "100%") {
			t.Errorf("out of bounds: %v", err)
		}
		if all := b.w.Shadows(); len(all) > 0 {
			t.Errorf("shadows: %+v", all)
		}
	})
}

// Operators turn shadows on and off. Python runs what is not in the share that Go takes, whatever the shadows are.
func TestShadowsAreDialed(t *testing.T) {
	e := pythonEnds(map[string]ending{"app.both": returns("1")})
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		var real, copies atomic.Int64
		b.reg.Register("app.both", func(ctx context.Context) int {
			if tasks.Shadowed(ctx) {
				copies.Add(1)
			} else {
				real.Add(1)
			}
			return 1
		}, tasks.Shadowable())
		b.start()
		ids := append(taskIDs(5, true), taskIDs(20, false)...)
		want := func(wantReal, wantCopies int64) {
			t.Helper()
			real.Store(0)
			copies.Store(0)
			for _, id := range ids {
				b.send(canvas.Sig("app.both").Set(canvas.TaskID(id)))
			}
			b.sleep(time.Second)
			if real, copies := real.Load(), copies.Load(); real != wantReal || copies != wantCopies {
				t.Errorf("in Go %d, as shadows %d, want %d and %d; dropped: %v", real, copies, wantReal, wantCopies, b.shadowOf("app.both").Counts)
			}
		}
		ops := b.w.Operations()
		set := func(set func(string, tasks.Share) error, share tasks.Share) {
			t.Helper()
			if err := set("app.both", share); err != nil {
				t.Fatal(err)
			}
		}
		want(25, 0) // nobody has said anything
		set(ops.SetShadow, tasks.WholeShare)
		want(0, 25)
		if all := b.w.Shares(); !maps.Equal(all, map[string]tasks.Share{"app.both": 0}) {
			t.Errorf("shares: %v", all)
		}
		set(ops.SetShadow, tenth)
		want(0, 5)
		if err := ops.Restart(t.Context()); err != nil { // what operators have set stays
			t.Fatal(err)
		}
		want(0, 5)
		set(ops.SetShadow, 0) // the tasks stay in Python
		want(0, 0)
		set(ops.SetShare, tenth)
		want(5, 0)
		set(ops.SetShadow, tasks.WholeShare)
		want(5, 20)
	})
}

// Few shadows run at once, and few wait: the rest is dropped. A handler that takes too long is counted when its time is over, and keeps its
// place until it returns. None of them holds up a task, or the end of the worker.
func TestShadowsAreBounded(t *testing.T) {
	e := pythonEnds(map[string]ending{"app.both": returns("1")})
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		stuck := make(chan struct{})
		var now atomic.Int64 // that have begun
		b.reg.Register("app.both", func() int {
			now.Add(1)
			<-stuck
			return 1
		}, tasks.Shadowable())
		b.cfg.Shadows = map[string]tasks.Share{"app.both": tasks.WholeShare}
		b.start()
		atOnce := max(1, runtime.GOMAXPROCS(0)/2)
		n := atOnce + 100 + 5
		for range n {
			b.send(canvas.Sig("app.both"))
		}
		b.sleep(10 * time.Second)
		if b.wantShadow("app.both", map[worker.ShadowOutcome]uint64{worker.ShadowDropped: 5}); b.countEvents("succeeded") != n || now.Load() != int64(atOnce) {
			t.Errorf("%d of %d tasks have ended, %d shadows run at once", b.countEvents("succeeded"), n, now.Load())
		}
		b.sleep(time.Minute)
		b.wantShadow("app.both", map[worker.ShadowOutcome]uint64{worker.ShadowDropped: 5, worker.ShadowTimeout: uint64(atOnce)})
		b.wantLog("takes longer than 60s, where Python took 0.001s")
		close(stuck)
		b.sleep(time.Second)
		got := b.wantShadow("app.both", map[worker.ShadowOutcome]uint64{worker.ShadowDropped: 5, worker.ShadowTimeout: uint64(atOnce), worker.ShadowSame: 100})
		if got.Python.Count != 100 || got.Go.Count != 100 || len(got.Go.Last) != 100 || got.Python.Sum != 100*time.Millisecond {
			t.Errorf("runtimes: %+v, %+v", got.Python, got.Go)
		}
	})
}

// What a task's limits are holds for its shadow, too. One that heeds its context ends with them, and with the worker.
func TestShadowsHaveLimits(t *testing.T) {
	e := pythonEnds(map[string]ending{
		"app.hard": returns("1"), "app.soft": raises("billiard.exceptions.SoftTimeLimitExceeded"),
		"app.slow": returns("1"),
	})
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		var causes []error
		wait := func(ctx context.Context) error {
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			return ctx.Err()
		}
		b.reg.Register("app.hard", wait, tasks.Shadowable(), tasks.TimeLimit(3*time.Second))
		b.reg.Register("app.soft", wait, tasks.Shadowable(), tasks.SoftTimeLimit(3*time.Second))
		b.reg.Register("app.slow", wait, tasks.Shadowable())
		b.cfg.Shadows = map[string]tasks.Share{"app.hard": tasks.WholeShare, "app.soft": tasks.WholeShare, "app.slow": tasks.WholeShare}
		b.start()
		for _, task := range []string{"app.hard", "app.soft", "app.slow"} {
			b.send(canvas.Sig(task))
			b.sleep(4 * time.Second)
		}
		b.wantShadow("app.hard", map[worker.ShadowOutcome]uint64{worker.ShadowTimeout: 1})
		b.wantShadow("app.soft", map[worker.ShadowOutcome]uint64{worker.ShadowSame: 1})
		if took := b.took(b.stop); took > time.Millisecond {
			t.Errorf("the worker took %v to end", took)
		}
		b.wantShadow("app.slow", map[worker.ShadowOutcome]uint64{})
		if fmt.Sprint(causes) != fmt.Sprint([]error{tasks.ErrTimeLimit, tasks.ErrSoftTimeLimit, tasks.ErrShutdown}) {
			t.Errorf("causes: %v", causes)
		}
	})
}

// What has ended in no way of its own has no shadow: there would be nothing to compare.
func TestShadowsOfNothing(t *testing.T) {
	heeds := raises("SystemExit")
	ends := func(last worker.Outcome) func(*process, *worker.Run) worker.Outcome {
		return func(p *process, run *worker.Run) worker.Outcome {
			run.Shadowed()
			p.works(run, time.Minute)
			return last
		}
	}
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"app.lost": ends(worker.Outcome{Err: &worker.LostError{Status: "signal 15"}}), "app.heeds": ends(worker.Outcome{Settled: &heeds.Settled}),
	}}
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		b.cfg.Shadows = map[string]tasks.Share{"app.lost": tasks.WholeShare, "app.heeds": tasks.WholeShare}
		for task := range b.cfg.Shadows {
			b.reg.Register(task, func() { t.Errorf("%s ran", task) }, tasks.Shadowable())
		}
		b.start()
		for task := range b.cfg.Shadows {
			id := b.send(canvas.Sig(task))
			b.sleep(time.Second)
			if _, err := b.w.Operations().Terminate(15, id); err != nil {
				t.Fatal(err)
			}
			b.sleep(time.Minute)
			b.wantShadow(task, map[worker.ShadowOutcome]uint64{})
		}
	})
}
