package worker

import (
	"context"
	"sync/atomic"
	"time"
)

// A ProcessReporter is an [Executor] that tells of its processes, for metrics.
type ProcessReporter interface {
	// Processes may be called at any time, from any goroutine.
	Processes() Processes
}

// Processes is what an executor tells of its processes.
type Processes struct {
	// PIDs are those that are up.
	PIDs []int
	// Started counts those that it has started, by the reason, and Ended those that have ended, by
	// the cause. What the last one has ended of is what the next one is started for.
	Started, Ended map[ProcessCause]int64
}

// ProcessCause is why a process was started, or has ended: from a closed set, so that it can
// label a metric.
type ProcessCause string

// Causes of the starts and ends of processes.
const (
	ProcessStart      ProcessCause = "start"      // started: there are more slots than before
	ProcessStop       ProcessCause = "stop"       // ended: there are fewer, or the worker ends
	ProcessRestart    ProcessCause = "restart"    // its place is taken by one with other code
	ProcessMaxTasks   ProcessCause = "max_tasks"  // it has run as many tasks as it may
	ProcessMaxMemory  ProcessCause = "max_memory" // it took more memory than it may
	ProcessTimeLimit  ProcessCause = "time_limit" // its task has exceeded the hard time limit
	ProcessTerminated ProcessCause = "terminated" // an operator has terminated its task
	ProcessLost       ProcessCause = "lost"       // it has ended by itself, or something has ended it
)

// ProcessState is what a worker tells of an executor that is a [ProcessReporter].
type ProcessState struct {
	Executor string
	Processes
	// Waits is for how long slots have waited until there was a process that could run a task:
	// once for each task that they have taken, and once more for each that is idle now.
	Waits Waits
}

// Waits is a histogram of times.
type Waits struct {
	Counts map[float64]uint64 // how many took no longer than so many seconds
	Count  uint64             // how many there were
	Sum    time.Duration      // of all
}

// Processes tells of the processes of all executors that can.
func (w *Worker) Processes() (states []ProcessState) {
	for _, p := range w.runner.pools {
		if reporter, ok := p.executor.(ProcessReporter); ok {
			states = append(states, ProcessState{Executor: p.name, Processes: reporter.Processes(), Waits: p.waits.told()})
		}
	}
	return states
}

// waits counts how long slots wait until they are ready.
type waits struct {
	counts [len(waitBounds) + 1]atomic.Uint64 // of those up to a bound and above the one before
	sum    atomic.Int64                       // nanoseconds
}

// waitBounds are those of the histogram, in seconds: from a process that was there to one that
// has to load an app.
var waitBounds = [...]float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// ready is Slot.Ready, and counts how long it takes.
func (w *waits) ready(ctx context.Context, s Slot) bool {
	start := time.Now()
	ready := s.Ready(ctx)
	w.note(time.Since(start))
	return ready
}

func (w *waits) note(d time.Duration) {
	i := 0
	for i < len(waitBounds) && d.Seconds() > waitBounds[i] {
		i++
	}
	w.counts[i].Add(1)
	w.sum.Add(int64(d))
}

func (w *waits) told() Waits {
	told := Waits{Counts: make(map[float64]uint64, len(waitBounds)), Sum: time.Duration(w.sum.Load())}
	for i := range w.counts {
		told.Count += w.counts[i].Load()
		if i < len(waitBounds) {
			told.Counts[waitBounds[i]] = told.Count
		}
	}
	return told
}
