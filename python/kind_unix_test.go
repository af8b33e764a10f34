//go:build unix

package python

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/worker"
)

// All slots of a pool of greenlets share a child, and one of its tasks is ended without the others.
func TestGreenlets(t *testing.T) {
	r := newRig(t)
	r.tell("pool", "gevent")
	r.start(3)
	if r.app.opts.Pool != "gevent" {
		t.Errorf("the app was not loaded again for its pool, but for %q", r.app.opts.Pool)
	}
	first, second := r.send("green"), r.send("green")
	r.eventually("both run", func() bool { return r.has("runs-"+first) && r.has("runs-"+second) })
	pids := r.pids(1)
	if _, err := r.worker.Operations().Terminate(15, first); err != nil {
		t.Error(err)
	}
	if got := r.outcome(first); got != "TaskRevokedError('terminated')" {
		t.Errorf("terminated: %s", got)
	}
	if got := r.runs("limited"); got != "TimeLimitExceeded(0.3)" {
		t.Errorf("hard limit: %s", got)
	}
	if active := r.worker.Operations().Executors()[1].Active; active != 1 {
		t.Errorf("%d tasks run, not the other one", active)
	}
	if _, err := r.worker.Operations().Terminate(15, second); err != nil {
		t.Error(err)
	}
	r.outcome(second)
	if now := r.pids(1); !slices.Equal(now, pids) {
		t.Errorf("the process was %v and is %v", pids, now)
	}
}

// A child of threads that dies takes all its tasks with it, and nobody can terminate one.
func TestThreads(t *testing.T) {
	r := newRig(t)
	r.tell("pool", "threads")
	r.tell("process", "MainProcess")
	r.start(3)
	first, second := r.send("green"), r.send("green")
	r.eventually("both run", func() bool { return r.has("runs-"+first) && r.has("runs-"+second) })
	const no = "<class 'celery.concurrency.thread.TaskPool'> does not implement kill_job"
	if _, err := r.worker.Operations().Terminate(15, first); err == nil || err.Error() != no {
		t.Errorf("terminate: %v", err)
	}
	r.kill(r.pids(1)[0])
	for _, id := range []string{first, second} {
		if got := r.outcome(id); !strings.HasPrefix(got, "WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL)") {
			t.Errorf("lost: %s", got)
		}
	}
	r.logs("Process 'MainProcess' pid:")
	r.runs("echo")
}

func TestSolo(t *testing.T) {
	r := newRig(t)
	r.tell("pool", "solo")
	r.start(3)
	r.runs("echo")
	e := r.worker.Operations().Executors()[1]
	if e.Slots != 1 || e.Implementation != "celery.concurrency.solo:TaskPool" {
		t.Errorf("%d slots of %s", e.Slots, e.Implementation)
	}
	if c := r.app.Executor(nil, 1, worker.Autoscale{Max: 2}); c.Autoscale.Max != 0 {
		t.Error("it scales")
	}
}

func TestPoolThatIsNoneOfCelerys(t *testing.T) {
	r := newRig(t)
	r.tell("pool", "my.module:Pool")
	_, err := r.load(t.Context())
	var refused *LoadError
	if !errors.As(err, &refused) || refused.Text == "" {
		t.Errorf("error: %v", err)
	}
}
