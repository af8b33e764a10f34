package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// processes is an executor as one of child processes would be: slots that take a while to get
// ready, have a pid, get signals and die. What a process does with a task says a function.
type processes struct {
	boots    time.Duration // how long a process takes to get ready
	tasks    map[string]func(p *process, run *worker.Run) worker.Outcome
	startErr error

	mu         sync.Mutex
	generation int
	pids       int
	alive      map[*process]bool
	stops      []string
	called     []string
	closed     bool
}

// process is a slot of processes.
type process struct {
	of         *processes
	pid        int // 0: there is none
	generation int
	died       chan string // the cause
	soft       chan struct{}
	job        string
}

func (e *processes) Start(context.Context) error { return e.startErr }

func (e *processes) NewSlot() worker.Slot {
	p := &process{of: e, died: make(chan string, 1), soft: make(chan struct{}, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.alive == nil {
		e.alive = map[*process]bool{}
	}
	e.alive[p] = true
	return p
}

func (e *processes) Prepare(*worker.Run) error { return nil }

func (e *processes) Call(_ context.Context, entry *tasks.Entry, req *tasks.Request) (any, error) {
	e.called = append(e.called, entry.Name+string(req.Args))
	return len(req.Args), nil
}

func (e *processes) Restart(context.Context, ...string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.generation++
	return nil
}

func (e *processes) Info() worker.ExecutorInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := worker.ExecutorInfo{Implementation: "test:processes"}
	for p := range e.alive {
		info.PIDs = append(info.PIDs, p.pid)
	}
	slices.Sort(info.PIDs)
	return info
}

func (e *processes) Close(context.Context) error {
	e.closed = true
	return nil
}

func (p *process) Ready(ctx context.Context) bool {
	p.of.mu.Lock()
	old := p.generation != p.of.generation
	p.of.mu.Unlock()
	if p.pid != 0 && !old {
		return true
	}
	select {
	case <-time.After(p.of.boots):
	case <-ctx.Done():
		return false
	}
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.pids++
	p.pid, p.generation = 1000+p.of.pids, p.of.generation
	return true
}

func (p *process) Run(ctx context.Context, run *worker.Run) worker.Outcome {
	p.job = run.ID
	return p.of.tasks[run.Entry().Name](p, run)
}

// works begins a task and works for a while, unless the process dies.
func (p *process) works(run *worker.Run, d time.Duration) worker.Outcome {
	if !run.Begin(context.Background(), p.pid) {
		return worker.NotBegun
	}
	return p.goesOn(d)
}

func (p *process) goesOn(d time.Duration) worker.Outcome {
	select {
	case <-time.After(d):
		return worker.Outcome{Settled: &worker.Settled{State: protocol.Success, Repr: "'done'"}}
	case status := <-p.died:
		p.of.mu.Lock()
		defer p.of.mu.Unlock()
		p.pid = 0
		return worker.Outcome{Err: &worker.LostError{Status: status}}
	}
}

func (p *process) Stop(run *worker.Run, how worker.Stop) time.Duration {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.stops = append(p.of.stops, fmt.Sprintf("%s %d %d", run.Name, how.Strength, how.Signal))
	switch how.Strength {
	case worker.StopSoft:
		p.soft <- struct{}{}
	case worker.StopSignal:
		p.died <- fmt.Sprintf("signal %d", how.Signal)
	default:
		p.died <- "signal 9 (SIGKILL)"
	}
	return worker.Patient
}

func (p *process) Trace() string { return "in " + p.job }

func (p *process) Close() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	delete(p.of.alive, p)
}

// withProcesses is inBubble with an executor of processes for tasks whose names begin with py.
func withProcesses(t *testing.T, slots int, opts map[string][]tasks.Option, e *processes, test func(t *testing.T, b *bench)) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *bench) {
		for name := range e.tasks {
			b.reg.RegisterFor("python", name, opts[name]...)
		}
		b.cfg.Executors = map[string]worker.ExecutorConfig{"python": {Executor: e, Concurrency: slots}}
		test(t, b)
	})
}

// A request begins when its executor says so, and where: not before are time limits armed, is
// STARTED stored and task-started announced.
func TestExecutorBeginsLate(t *testing.T) {
	e := &processes{boots: time.Minute, tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.late": func(p *process, run *worker.Run) worker.Outcome {
			time.Sleep(time.Minute)
			return p.works(run, 50*time.Second)
		},
	}}
	opts := map[string][]tasks.Option{"py.late": {tasks.TrackStarted(true), tasks.TimeLimit(time.Minute)}}
	withProcesses(t, 1, opts, e, func(t *testing.T, b *bench) {
		b.start()
		id := b.send(canvas.Sig("py.late"))
		b.sleep(59 * time.Second)
		b.wantQueued(0, 1) // no process is ready: nothing is acknowledged
		b.wantEvents("received")
		b.sleep(60 * time.Second)
		b.wantQueued(0, 0)
		b.wantEvents("received")
		if active, reserved := b.w.Operations().Active(), b.w.Operations().Reserved(); len(active) != 0 || len(reserved) != 1 {
			t.Errorf("before it begins: active %v, reserved %v", active, reserved)
		}
		b.sleep(time.Second)
		b.wantEvents("received", "started")
		b.wantResult(id, `STARTED {"hostname": "celery@test", "pid": 1001}`)
		if active := b.w.Operations().Active(); len(active) != 1 || active[0].PID != 1001 || time.Since(active[0].Started) != 0 {
			t.Errorf("active = %+v", active)
		}
		b.sleep(50 * time.Second)
		b.wantEvents("received", "started", "succeeded")
	})
}

// What an executor has settled is not settled once more: its record is stored if it brings one,
// nothing is published, the message is acknowledged, and observers hear of it.
func TestOutcomeSettledElsewhere(t *testing.T) {
	raised := &protocol.Exception{Type: "ValueError", Message: []byte(`["bad"]`), Module: "builtins", Traceback: "Traceback\n"}
	const document = `{"status": "SUCCESS", "result": "by Python", "traceback": null, "children": [], "date_done": null, "task_id": "x"}`
	tests := []struct {
		name    string
		settled worker.Settled
		late    bool
		result  string
		events  []string
		queued  int
	}{
		{"record to store", worker.Settled{State: protocol.Success, Record: []byte(document)}, false, `SUCCESS "by Python"`, []string{"succeeded"}, 0},
		{"record to store, late", worker.Settled{State: protocol.Success, Record: []byte(document)}, true, `SUCCESS "by Python"`, []string{"succeeded"}, 0},
		{"stored", worker.Settled{State: protocol.Success}, true, "", []string{"succeeded"}, 0},
		{"failure", worker.Settled{State: protocol.Failure, Exception: raised}, true, "", []string{"failed ValueError"}, 0},
		{"retry", worker.Settled{State: protocol.Retry, Exception: raised}, true, "", []string{"retried ValueError"}, 0},
		{"ignored", worker.Settled{State: protocol.Ignored}, true, "", []string{"ignored"}, 0},
		{"rejected", worker.Settled{State: protocol.Rejected}, true, "", []string{"rejected"}, 0},
		{"rejected early", worker.Settled{State: protocol.Rejected, Requeue: true}, false, "", []string{"ignored"}, 0},
		{"rejected and failed", worker.Settled{State: protocol.Failure, Rejects: true, Exception: raised}, true, "", []string{"failed ValueError", "rejected"}, 0},
		{"rejected early and failed", worker.Settled{State: protocol.Failure, Rejects: true, Exception: raised}, false, "", []string{"failed ValueError"}, 0},
		{"requeued", worker.Settled{State: protocol.Rejected, Requeue: true}, true, "", []string{"rejected", "received", "started"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			runs := 0
			e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
				"py.task": func(p *process, run *worker.Run) worker.Outcome {
					if runs++; runs > 1 {
						return p.works(run, time.Hour)
					}
					run.Begin(context.Background(), p.pid)
					return worker.Outcome{Settled: &tt.settled}
				},
			}}
			opts := map[string][]tasks.Option{"py.task": {tasks.AcksLate(tt.late)}}
			withProcesses(t, 1, opts, e, func(t *testing.T, b *bench) {
				b.start()
				id := b.send(canvas.Sig("py.task").Link(canvas.Sig("no.such")))
				b.wantResult(id, tt.result)
				b.wantEvents(append([]string{"received", "started"}, tt.events...)...)
				b.wantQueued(tt.queued, b.broker.Leased())
				b.sleep(2 * time.Hour)
				b.wantQueued(0, 0)
			})
		})
	}
}

// A process that dies is what Celery calls a lost worker; its successor runs what comes next.
func TestProcessDiesWhileItRuns(t *testing.T) {
	die := func(p *process, run *worker.Run) worker.Outcome {
		p.died <- "exitcode 1"
		return p.works(run, time.Hour)
	}
	runs := 0
	e := &processes{boots: time.Second, tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.die": die,
		"py.again": func(p *process, run *worker.Run) worker.Outcome {
			if runs++; runs == 1 {
				return die(p, run)
			}
			return p.works(run, time.Second)
		},
	}}
	opts := map[string][]tasks.Option{"py.again": {tasks.AcksLate(true), tasks.RejectOnWorkerLost(true)}}
	withProcesses(t, 1, opts, e, func(t *testing.T, b *bench) {
		b.start()
		id := b.send(canvas.Sig("py.die"))
		b.sleep(time.Minute)
		b.wantResult(id, `FAILURE {"exc_type": "WorkerLostError", "exc_message": ["Worker exited prematurely: exitcode 1."], "exc_module": "billiard.exceptions"}`)
		b.wantLog("Task handler raised error: WorkerLostError(")
		b.send(canvas.Sig("py.again"))
		b.sleep(time.Minute)
		b.wantEvents("received", "started", "failed WorkerLostError",
			"received", "started", "rejected", "received", "started", "succeeded")
		if pids := b.w.Operations().Executors()[1].PIDs; !slices.Equal(pids, []int{1003}) {
			t.Errorf("pids = %v, want the third process", pids)
		}
	})
}

// A request that could not begin after all waits for a slot again, and is the next.
func TestRequestThatHasNotBegun(t *testing.T) {
	for _, late := range []bool{false, true} {
		tries := 0
		e := &processes{boots: 20 * time.Millisecond, tasks: map[string]func(*process, *worker.Run) worker.Outcome{
			"py.task": func(p *process, run *worker.Run) worker.Outcome {
				if tries++; tries == 1 {
					p.pid = 0
					return worker.NotBegun
				}
				return p.works(run, time.Second)
			},
		}}
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			withProcesses(t, 1, map[string][]tasks.Option{"py.task": {tasks.AcksLate(late)}}, e, func(t *testing.T, b *bench) {
				b.start()
				b.send(canvas.Sig("py.task"))
				b.sleep(30 * time.Millisecond)
				b.wantEvents("received")
				b.sleep(time.Minute)
				b.wantEvents("received", "started", "succeeded")
				b.wantQueued(0, 0)
			})
		})
	}
}

// The three strengths with which a request is stopped reach its process, and those only that
// run it.
func TestStopsReachTheProcess(t *testing.T) {
	caught := 0
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.long": func(p *process, run *worker.Run) worker.Outcome { return p.works(run, time.Hour) },
		"py.soft": func(p *process, run *worker.Run) worker.Outcome {
			run.Begin(context.Background(), p.pid)
			<-p.soft
			caught++
			return p.goesOn(time.Hour)
		},
		"py.slow": func(p *process, run *worker.Run) worker.Outcome {
			time.Sleep(time.Minute)
			return p.works(run, time.Hour)
		},
	}}
	opts := map[string][]tasks.Option{
		"py.soft": {tasks.SoftTimeLimit(10 * time.Second), tasks.TimeLimit(20 * time.Second)},
	}
	withProcesses(t, 1, opts, e, func(t *testing.T, b *bench) {
		b.start()
		soft := b.send(canvas.Sig("py.soft"))
		b.sleep(15 * time.Second)
		if caught != 1 {
			t.Errorf("SoftTimeLimitExceeded was raised %d times", caught)
		}
		b.wantResult(soft, "")
		b.sleep(time.Minute)
		b.wantResult(soft, `FAILURE {"exc_type": "TimeLimitExceeded", "exc_message": [20], "exc_module": "billiard.exceptions"}`)
		b.wantLog("in " + soft) // what it was doing

		const revoked = `REVOKED {"exc_type": "TaskRevokedError", "exc_message": ["terminated"], "exc_module": "celery.exceptions"}`
		long := b.send(canvas.Sig("py.long"))
		terminate(t, b, 15, long)
		b.sleep(time.Second)
		b.wantResult(long, revoked)

		slow := b.send(canvas.Sig("py.slow")) // has a slot, and has not begun
		terminate(t, b, 2, slow)
		b.sleep(30 * time.Second)
		b.wantResult(slow, "")
		b.sleep(time.Minute)
		b.wantResult(slow, revoked)

		if want := []string{"py.soft 0 0", "py.soft 2 0", "py.long 1 15", "py.slow 1 2"}; !slices.Equal(e.stops, want) {
			t.Errorf("stops = %q, want %q", e.stops, want)
		}
		if s := b.w.Stats(); s.Active != 0 || s.Abandoned != 0 || s.AbandonedTotal != 1 {
			t.Errorf("stats = %+v", s)
		}
	})
}

func terminate(t *testing.T, b *bench, signum int, id string) {
	t.Helper()
	if known, err := b.w.Operations().Terminate(signum, id); len(known) != 1 || err != nil {
		t.Errorf("known: %v, %v", known, err)
	}
}

// A request of an executor with restraints exceeds its time limits and cannot be terminated.
func TestRestraintsOfAnExecutor(t *testing.T) {
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.long": func(p *process, run *worker.Run) worker.Outcome { return p.works(run, time.Hour) },
	}}
	opts := map[string][]tasks.Option{"py.long": {tasks.SoftTimeLimit(10 * time.Second), tasks.TimeLimit(20 * time.Second)}}
	withProcesses(t, 1, opts, e, func(t *testing.T, b *bench) {
		b.cfg.Executors["python"] = worker.ExecutorConfig{
			Executor: e, Concurrency: 1, Restraints: worker.Restraints{NoTimeLimit: true, NoSoftTimeLimit: true, NoTerminate: true},
		}
		b.start()
		id := b.send(canvas.Sig("py.long"))
		b.sleep(time.Minute)
		known, err := b.w.Operations().Terminate(15, id)
		if len(known) != 1 || err == nil || err.Error() != "<class 'test.processes'> does not implement kill_job" {
			t.Errorf("known: %v, %v", known, err)
		}
		b.sleep(2 * time.Hour)
		b.wantEvents("received", "started", "succeeded")
		if len(e.stops) > 0 {
			t.Errorf("stops = %q", e.stops)
		}
	})
}

// A cold shutdown kills what runs: late messages go back, the others are RETRY.
func TestColdShutdownKillsProcesses(t *testing.T) {
	long := func(p *process, run *worker.Run) worker.Outcome { return p.works(run, time.Hour) }
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.early": long, "py.late": long,
		"py.slow": func(*process, *worker.Run) worker.Outcome {
			time.Sleep(time.Minute)
			return worker.NotBegun
		},
	}}
	opts := map[string][]tasks.Option{"py.late": {tasks.AcksLate(true)}, "py.slow": {tasks.AcksLate(true)}}
	withProcesses(t, 3, opts, e, func(t *testing.T, b *bench) {
		b.start()
		early := b.send(canvas.Sig("py.early"))
		b.send(canvas.Sig("py.late"))
		b.send(canvas.Sig("py.slow"))
		b.w.Abort()
		b.stop()
		<-b.ended
		b.sleep(2 * time.Minute)
		if got := b.result(early); !strings.HasPrefix(got, "RETRY ") {
			t.Errorf("result = %s", got)
		}
		b.wantQueued(2, 0)
		if len(e.stops) != 3 || len(e.alive) != 0 || !e.closed {
			t.Errorf("%q were stopped, %d slots are left, closed: %t", e.stops, len(e.alive), e.closed)
		}
	})
}

func TestResizeAndRestartOfAnExecutor(t *testing.T) {
	e := &processes{boots: time.Second, tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.task": func(p *process, run *worker.Run) worker.Outcome { return p.works(run, time.Minute) },
	}}
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		b.start()
		for range 8 {
			b.send(canvas.Sig("py.task"))
		}
		check := func(step string, active int, pids ...int) {
			t.Helper()
			s := b.w.Operations().Executors()[1]
			if s.Name != "python" || s.Active != active || !slices.Equal(s.PIDs, pids) {
				t.Errorf("%s: %+v, want %d active in %v", step, s, active, pids)
			}
		}
		b.sleep(10 * time.Second)
		check("at first", 1, 1001)
		if err := b.w.Operations().ResizeExecutor("python", 3); err != nil {
			t.Fatal(err)
		}
		b.sleep(10 * time.Second)
		check("grown", 3, 1001, 1002, 1003)
		if err := b.w.Operations().Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.sleep(10 * time.Second)
		check("restarted", 3, 1001, 1002, 1003) // those that run go on
		b.sleep(time.Minute)
		check("restarted, and idle once", 3, 1004, 1005, 1006)
		if err := b.w.Operations().ResizeExecutor("python", 1); err != nil {
			t.Fatal(err)
		}
		b.sleep(time.Hour)
		check("shrunk", 0, e.Info().PIDs...)
		if n := len(e.Info().PIDs); n != 1 {
			t.Errorf("%d slots are left", n)
		}
		if b.w.Operations().ResizeExecutor("python", 0) == nil || b.w.Operations().ResizeExecutor("ruby", 1) == nil {
			t.Error("no slots, or no executor, is no error")
		}
		if n := b.w.Concurrency(); n != 2 {
			t.Errorf("Go handlers have %d slots", n)
		}
	})
}

// A thousand long tasks of one executor do not keep another's slots idle, nor do they fill its
// share of what is claimed, though they lie before its tasks in the same queue.
func TestExecutorsDoNotStarveOneAnother(t *testing.T) {
	var enough chan struct{}
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.long": func(p *process, run *worker.Run) worker.Outcome {
			run.Begin(context.Background(), p.pid)
			<-enough
			return p.goesOn(0)
		},
	}}
	withProcesses(t, 2, nil, e, func(t *testing.T, b *bench) {
		const long, short = 1000, 20
		ran := 0
		enough = make(chan struct{})
		b.reg.Register("app.short", func() { ran++ }, tasks.AcksLate(true))
		b.cfg.Concurrency = 1
		for range long {
			b.send(canvas.Sig("py.long"))
		}
		for range short {
			b.send(canvas.Sig("app.short"))
		}
		b.start()
		b.sleep(10 * time.Second)
		if ran != short {
			t.Errorf("%d of %d short tasks have run", ran, short)
		}
		states := b.w.Operations().Executors()
		if s := states[1]; s.Active != 2 || s.Reserved > s.Prefetch || s.Prefetch != 8 {
			t.Errorf("python: %+v, want 2 active and no more than 8 reserved", s)
		}
		if s := states[0]; s.Prefetch != 4 || s.Active+s.Reserved != 0 {
			t.Errorf("go: %+v", s)
		}
		close(enough)
		b.sleep(time.Minute)
		b.events.mu.Lock()
		defer b.events.mu.Unlock()
		done := 0
		for _, seen := range b.events.seen {
			if seen == "succeeded" {
				done++
			}
		}
		if done != long+short {
			t.Errorf("%d of %d tasks were run", done, long+short)
		}
	})
}

// celery.map calls a task in its executor; a worker that cannot start an executor does not run.
func TestCallsGoThroughTheExecutor(t *testing.T) {
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{"py.task": nil}}
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		b.start()
		id := b.send(canvas.Map(canvas.Sig("py.task"), []int{1, 22}))
		b.wantResult(id, "SUCCESS [3, 4]")
		if want := []string{"py.task[1]", "py.task[22]"}; !slices.Equal(e.called, want) {
			t.Errorf("called %q, want %q", e.called, want)
		}
	})
}

func TestExecutorThatCannotStart(t *testing.T) {
	e := &processes{startErr: errors.New("no such app"), tasks: map[string]func(*process, *worker.Run) worker.Outcome{"py.task": nil}}
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		b.send(canvas.Sig("py.task"))
		b.start()
		<-b.ended
		if !errors.Is(b.runErr, e.startErr) {
			t.Errorf("Run = %v", b.runErr)
		}
		b.wantQueued(1, 0)
	})
}

// The slots of an executor follow its own load, and nobody else's.
func TestAutoscaleOfAnExecutor(t *testing.T) {
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.task": func(p *process, run *worker.Run) worker.Outcome { return p.works(run, time.Minute) },
	}}
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		b.cfg.Executors = map[string]worker.ExecutorConfig{"python": {Executor: e, Autoscale: worker.Autoscale{Max: 3, Min: 1}}}
		b.reg.Register("app.sleep", func() { time.Sleep(time.Minute) })
		b.start()
		slots := func(step string, want int) {
			t.Helper()
			if s := b.w.Operations().Executors()[1]; s.Slots != want {
				t.Errorf("%s: %d slots, want %d", step, s.Slots, want)
			}
		}
		for range 5 {
			b.send(canvas.Sig("app.sleep"))
		}
		b.sleep(10 * time.Second)
		slots("while others are busy", 1)
		for range 5 {
			b.send(canvas.Sig("py.task"))
		}
		b.sleep(10 * time.Second)
		slots("busy", 3)
		b.sleep(time.Hour)
		slots("idle", 1)
	})
}
