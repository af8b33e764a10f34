package worker_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// An executor that has restarted with other code runs other tasks, with other options: what is
// gone is unknown, and limits that operators have set stay, as in Celery.
func TestRestartWithOtherTasks(t *testing.T) {
	var mu sync.Mutex
	var late []bool
	lates := func() []bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(late)
	}
	works := func(p *process, run *worker.Run) worker.Outcome {
		mu.Lock()
		late = append(late, *run.Entry().Options.AcksLate)
		mu.Unlock()
		return p.works(run, time.Second)
	}
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.changes": works, "py.goes": works, "py.comes": works, "py.slow": works, "app.stays": works,
	}}
	registered := map[string][]tasks.Option{
		"py.changes": {tasks.AcksLate(false)}, "py.goes": {tasks.AcksLate(false)},
		"py.slow": {tasks.AcksLate(false), tasks.RateLimit("1/h")},
	}
	after := map[string][]tasks.Option{
		"py.changes": {tasks.AcksLate(true), tasks.RateLimit("1/h"), tasks.TimeLimit(7 * time.Second)}, "py.comes": {tasks.AcksLate(true)},
		"py.slow": {tasks.AcksLate(true), tasks.RateLimit("1/m")}, "app.stays": {tasks.AcksLate(true)},
	}
	inBubble(t, func(t *testing.T, b *bench) {
		for name, opts := range registered {
			b.reg.RegisterFor("python", name, opts...)
		}
		var ran atomic.Int32
		b.reg.Register("app.stays", func() { ran.Add(1) })
		b.cfg.Executors = map[string]worker.ExecutorConfig{"python": {
			Executor: e, Concurrency: 1, Tasks: func() map[string][]tasks.Option { return after },
		}}
		b.start()
		o := b.w.Operations()
		for _, name := range []string{"py.changes", "py.goes", "py.slow", "py.slow", "py.slow", "app.stays"} {
			b.send(canvas.Sig(name))
		}
		b.sleep(10 * time.Second)
		if want := []bool{false, false, false}; !slices.Equal(lates(), want) || ran.Load() != 1 {
			t.Fatalf("before: late %v, %d in Go", lates(), ran.Load())
		}
		if err := errors.Join(o.SetRateLimit("py.changes", "100/s"), o.SetTimeLimits("py.changes", time.Second, 2*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := o.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if names := o.TaskNames(false); !slices.Equal(names, []string{"app.stays", "py.changes", "py.comes", "py.slow"}) {
			t.Errorf("tasks: %q", names)
		}
		for attribute, want := range map[string]string{"rate_limit": "100/s", "soft_time_limit": "1", "time_limit": "2", "acks_late": "True"} {
			if got, _ := o.TaskAttribute("py.changes", attribute); got != want {
				t.Errorf("py.changes: %s is %s, want %s", attribute, got, want)
			}
		}
		gone := b.send(canvas.Sig("py.goes"))
		for _, name := range []string{"py.changes", "py.comes", "app.stays"} {
			b.send(canvas.Sig(name))
		}
		b.sleep(10 * time.Second)
		if got := b.result(gone); !strings.HasPrefix(got, `FAILURE {"exc_type": "NotRegistered"`) {
			t.Errorf("the task that is gone: %s", got)
		}
		// The two that waited for their turn have the new limit, though they came before.
		if want := []bool{false, false, false, false, true, true}; !slices.Equal(lates(), want) || ran.Load() != 2 {
			t.Errorf("after: late %v, %d in Go", lates(), ran.Load())
		}
		b.sleep(time.Minute)
		if want := []bool{false, false, false, false, true, true, false}; !slices.Equal(lates(), want) {
			t.Errorf("a minute later: late %v", lates())
		}
		after = map[string][]tasks.Option{"": nil}
		if err := o.Refresh(); err == nil || !strings.Contains(err.Error(), "needs a name") {
			t.Errorf("a task without a name: %v", err)
		}
		if err := o.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), `executor "python"`) {
			t.Errorf("a task without a name: %v", err)
		}
		if _, ok := o.TaskAttribute("py.comes", "name"); !ok {
			t.Error("a restart that failed took the tasks away")
		}
	})
}

// Celery's tasks that call another one run where that does: with a Go handler in Go, and
// everywhere else where they are registered. So does one whose body cannot be read here.
func TestTasksThatCallAnother(t *testing.T) {
	ran := []string{}
	python := func(p *process, run *worker.Run) worker.Outcome {
		ran = append(ran, run.Name)
		return p.works(run, 0)
	}
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"celery.map": python, "celery.starmap": python, "celery.chunks": python, "celery.accumulate": python, "py.task": python,
	}}
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		b.reg.Register("app.double", func(n int) int { return 2 * n })
		b.start()
		take := func() []string {
			defer func() { ran = []string{} }()
			b.sleep(time.Second)
			return ran
		}
		inGo := b.send(canvas.Map(canvas.Sig("app.double"), []int{1, 2}))
		starred := b.send(canvas.Starmap(canvas.Sig("app.double"), [][]int{{3}, {4}}))
		if got := take(); len(got) > 0 {
			t.Errorf("Python ran %q", got)
		}
		b.wantResult(inGo, "SUCCESS [2, 4]")
		b.wantResult(starred, "SUCCESS [6, 8]")
		chunks := func(task string) canvas.Signature {
			return canvas.Sig("celery.chunks").Kw(map[string]any{"task": canvas.Sig(task), "it": [][]int{{5}, {6}, {7}}, "n": 2})
		}
		b.send(chunks("app.double"))
		if got := take(); len(got) > 0 {
			t.Errorf("Python ran %q", got)
		}
		for _, sig := range []canvas.Signature{
			canvas.Map(canvas.Sig("py.task"), []int{1}), canvas.Starmap(canvas.Sig("no.such"), []int{1}),
			chunks("py.task"), canvas.Sig("celery.accumulate", 1), canvas.Sig("celery.map"),
		} {
			name := sig.Task()
			b.send(sig)
			if got := take(); !slices.Equal(got, []string{name}) {
				t.Errorf("Python ran %q of %s", got, name)
			}
		}
		b.publish(raw("celery.map", "1", pickled))
		if got := take(); !slices.Equal(got, []string{"celery.map"}) {
			t.Errorf("Python ran %q of one that cannot be read", got)
		}
		b.wantQueued(0, 0)
	})
}
