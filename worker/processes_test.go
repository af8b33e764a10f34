package worker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/worker"
)

// reporting is an executor of processes that tells of them.
type reporting struct{ processes }

func (e *reporting) Processes() worker.Processes {
	return worker.Processes{PIDs: e.Info().PIDs, Started: map[worker.ProcessCause]int64{worker.ProcessStart: int64(e.pids)}}
}

// A worker tells of the processes of an executor that does, and for how long slots had none.
func TestProcessesOfAnExecutor(t *testing.T) {
	e := &reporting{processes{boots: 300 * time.Millisecond, tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.task": func(p *process, run *worker.Run) worker.Outcome { return p.works(run, time.Second) },
		"py.dies": func(p *process, run *worker.Run) worker.Outcome {
			p.died <- "exitcode 1"
			return p.works(run, time.Hour)
		},
	}}}
	inBubble(t, func(t *testing.T, b *bench) {
		for name := range e.tasks {
			b.reg.RegisterFor("python", name)
		}
		b.cfg.Executors = map[string]worker.ExecutorConfig{"python": {Executor: e, Concurrency: 1}}
		b.start()
		for _, name := range []string{"py.task", "py.task", "py.dies"} {
			b.send(canvas.Sig(name))
			b.sleep(10 * time.Second)
		}
		told := b.w.Processes()
		if len(told) != 1 || told[0].Executor != "python" || !slices.Equal(told[0].PIDs, []int{1002}) || told[0].Started[worker.ProcessStart] != 2 {
			t.Fatalf("processes: %+v", told)
		}
		// Twice there was none: at first, and when one had died. Twice it was there.
		waits := told[0].Waits
		if waits.Count != 4 || waits.Sum != 600*time.Millisecond || waits.Counts[.001] != 2 || waits.Counts[.25] != 2 || waits.Counts[.5] != 4 {
			t.Errorf("waits: %+v", waits)
		}
		if n := len(waits.Counts); n != 12 {
			t.Errorf("%d bounds", n)
		}
	})
}

// Executors that do not tell of processes, such as that of Go handlers, have none.
func TestNoProcesses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add)
		b.start()
		b.send(canvas.Sig("app.add", 1, 2))
		if told := b.w.Processes(); len(told) != 0 {
			t.Errorf("processes: %+v", told)
		}
	})
}
