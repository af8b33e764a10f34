package worker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/apium/apium/tasks"
)

// goroutines is the executor of Go handlers: they run in the goroutines of the slots. A
// goroutine cannot be killed: one whose request is stopped for good is let go, and its
// stack logged.
type goroutines struct{}

// Goroutines returns an executor of Go handlers as every worker has one, for others that are like it but for something:
// one that belongs to a task, say (tasks.OwnExecutor). Their ExecutorConfig is InProcess.
func Goroutines() Executor { return goroutines{} }

func (goroutines) Start(context.Context) error              { return nil }
func (goroutines) NewSlot() Slot                            { return &goroutineSlot{name: goroutineName()} }
func (goroutines) Restart(context.Context, ...string) error { return nil } // its code is that of the process
func (goroutines) Close(context.Context) error              { return nil }
func (goroutines) Prepare(*Run) error                       { return nil } // the worker has read the arguments

func (goroutines) Info() ExecutorInfo {
	return ExecutorInfo{Implementation: "apium.worker:goroutines", PIDs: []int{processID}}
}

func (goroutines) Call(ctx context.Context, entry *tasks.Entry, req *tasks.Request) (any, error) {
	return entry.Call(ctx, req)
}

// errGoexit is that of a handler that ended its goroutine instead of returning, which is what
// a lost child process is to Celery.
var errGoexit = &LostError{Status: "the handler ended its goroutine"}

// terminateGrace is how long a handler has to return after its task was terminated.
const terminateGrace = 200 * time.Millisecond

const sigKill = 9 // on every system that Python knows it on

// goroutineSlot is a slot of goroutines. A panic is the task's failure: Entry.Call recovers it.
type goroutineSlot struct {
	name []byte // of its goroutine, as in a dump of all stacks
}

func (*goroutineSlot) Ready(context.Context) bool { return true }

func (*goroutineSlot) Run(ctx context.Context, run *Run) Outcome {
	if !run.Begin(ctx, processID) {
		return NotBegun
	}
	return run.Call(ctx)
}

var processID = os.Getpid()

// Stop has nothing to do: the handler's context is cancelled.
func (*goroutineSlot) Stop(_ *Run, how Stop) (patience time.Duration) {
	switch {
	case how.Strength == StopSoft:
		return Patient
	case how.Strength == StopKill || how.Signal == sigKill:
		return 0
	}
	return terminateGrace
}

func (*goroutineSlot) Close() {}

// goroutineName is how the runtime calls this goroutine: "goroutine 12 ".
func goroutineName() []byte {
	var buf [32]byte
	head := buf[:runtime.Stack(buf[:], false)]
	if i := bytes.IndexByte(head, '['); i > 0 {
		return bytes.Clone(head[:i])
	}
	return nil
}

// Trace returns the stack of the slot's goroutine.
func (s *goroutineSlot) Trace() string {
	for size := 1 << 20; ; size *= 2 {
		buf := make([]byte, size)
		n := runtime.Stack(buf, true)
		if n == size && size < 64<<20 {
			continue
		}
		for trace := range bytes.SplitSeq(buf[:n], []byte("\n\n")) {
			if bytes.HasPrefix(trace, s.name) {
				return string(trace)
			}
		}
		return fmt.Sprintf("%s has ended", s.name)
	}
}
