//go:build unix

package python

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/apium/apium/worker"
)

// census is what the worker tells of the starts and ends of children, in one line each.
func (r *rig) census() (started, ended string) {
	line := func(counts map[worker.ProcessCause]int64) string {
		var parts []string
		for _, cause := range slices.Sorted(maps.Keys(counts)) {
			parts = append(parts, fmt.Sprintf("%s %d", cause, counts[cause]))
		}
		return strings.Join(parts, ", ")
	}
	told := r.worker.Processes()[0]
	return line(told.Started), line(told.Ended)
}

func (r *rig) counts(started, ended string) {
	r.t.Helper()
	var s, e string
	defer func() {
		if r.t.Failed() {
			r.t.Logf("started: %s; ended: %s", s, e)
		}
	}()
	r.eventually("started: "+started+"; ended: "+ended, func() bool {
		s, e = r.census()
		return s == started && e == ended
	})
}

// Each start and each end of a child is counted, by its cause.
func TestCensus(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(1)
	r.counts("start 1", "")
	r.runs("die")
	r.counts("lost 1, start 1", "lost 1")
	r.runs("leave")
	r.counts("lost 1, max_memory 1, start 1", "lost 1, max_memory 1")
	r.runs("hard")
	r.counts("lost 1, max_memory 1, start 1, time_limit 1", "lost 1, max_memory 1, time_limit 1")
	r.app.Manifest().MaxTasksPerChild = 1
	r.runs("leave")
	r.counts("lost 1, max_memory 1, max_tasks 1, start 1, time_limit 1", "lost 1, max_memory 1, max_tasks 1, time_limit 1")
	id := r.send("stop")
	r.eventually("the task runs", func() bool { return len(r.worker.Operations().Active()) == 1 })
	r.worker.Operations().Terminate(int(syscall.SIGHUP), id)
	r.outcome(id)
	r.counts("lost 1, max_memory 1, max_tasks 1, start 1, terminated 1, time_limit 1", "lost 1, max_memory 1, max_tasks 1, terminated 1, time_limit 1")
	if err := r.worker.Operations().Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.counts("lost 1, max_memory 1, max_tasks 1, restart 1, start 1, terminated 1, time_limit 1",
		"lost 1, max_memory 1, max_tasks 1, restart 1, terminated 1, time_limit 1")
	if err := r.worker.Operations().ResizeExecutor(Executor, 2); err != nil {
		t.Fatal(err)
	}
	r.counts("lost 1, max_memory 1, max_tasks 1, restart 1, start 2, terminated 1, time_limit 1",
		"lost 1, max_memory 1, max_tasks 1, restart 1, terminated 1, time_limit 1")
	if n := len(r.worker.Processes()[0].PIDs); n != 2 {
		t.Errorf("%d are up", n)
	}
	r.stop()
	r.counts("lost 1, max_memory 1, max_tasks 1, restart 1, start 2, terminated 1, time_limit 1",
		"lost 1, max_memory 1, max_tasks 1, restart 1, stop 2, terminated 1, time_limit 1")
}
