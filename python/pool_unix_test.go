//go:build unix

package python

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// However a task and its process end, that is answered for, and other tasks run as before.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for task, want := range map[string]string{
		"echo":    "",
		"raise":   "MemoryError('no')",
		"die":     "WorkerLostError('Worker exited prematurely: exitcode 3 Job: 1.')",
		"soft":    "true",
		"hard":    "TimeLimitExceeded(0.3)",
		"close":   "WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 1.')",
		"garbage": "WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 1.')",
		"wrong":   "WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 1.')",
		"unread":  "", // its first child ends before it has read the job
		"orphan":  "", // so it does, and the fork server with it
	} {
		t.Run(task, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.start(1)
			got := r.runs(task)
			if want == "" {
				want = " " + strconv.Itoa(r.pids(1)[0])
			}
			if got != want {
				t.Errorf("%q, not %q", got, want)
			}
			r.runs("echo")
			pids := append(r.pids(1), r.app.Manifest().PID)
			r.stop()
			r.app.Close()
			r.gone(pids...)
		})
	}
}

// A process that a task has started and that keeps the child's socket does not hold up anybody.
func TestGrandchildKeepsTheSocket(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(1)
	lost := r.send("hold")
	r.runs("echo")
	if got := r.outcome(lost); got != "WorkerLostError('Worker exited prematurely: exitcode 3 Job: 1.')" {
		t.Error(got)
	}
	r.stop()
	text, err := os.ReadFile(filepath.Join(r.folder, "grandchild"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	r.kill(pid) // it is the task's, and lives on
}

// A child that says that it leaves is replaced, and no job is sent to it.
func TestLeave(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(2)
	var ids []string
	for range 20 {
		ids = append(ids, r.send("leave"))
	}
	var pids []string
	for _, id := range ids {
		pids = append(pids, r.outcome(id))
	}
	slices.Sort(pids)
	if n := len(slices.Compact(pids)); n != 20 {
		t.Errorf("20 tasks ran in %d processes", n)
	}
	if strings.Contains(r.log.String(), "exited with") {
		t.Error("their ends were reported")
	}
}

// A child that does not read what it is sent is ended by the time limit.
func TestDeafChild(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tell("start", "deaf")
	r.start(1)
	r.pids(1)
	r.tell("start", "")
	if got := r.runs("hard", `"`+strings.Repeat("x", 8<<20)+`"`); got != "TimeLimitExceeded(0.3)" {
		t.Error(got)
	}
	r.runs("echo")
}

// A terminated task's child gets no other job, and one that was killed is replaced at once.
func TestTerminate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(1)
	id := r.send("stop")
	r.eventually("the task runs", func() bool { return r.has("runs") })
	next := r.send("echo")
	r.worker.Operations().Terminate(int(syscall.SIGHUP), id)
	if got := r.outcome(id); got != "TaskRevokedError('terminated')" {
		t.Error(got)
	}
	r.outcome(next)
	if strings.Contains(r.log.String(), "exited with") {
		t.Error("its end was reported")
	}
}

// A child that dies while it has nothing to do is replaced, and so are all when the fork server dies.
func TestKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(2)
	before := r.pids(2)
	r.kill(before[0])
	r.logs("exited with 'signal 9 (SIGKILL)'")
	r.eventually("it is replaced", func() bool { return !slices.Contains(r.pids(2), before[0]) })
	r.runs("echo")

	lost, server := r.send("mute"), r.app.Manifest().PID
	r.eventually("the task runs", func() bool { return r.has("runs") }) // else it would run in a new child, without an end
	before = r.pids(2)
	r.kill(server)
	if got := r.outcome(lost); got != "WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 1.')" {
		t.Error(got)
	}
	r.logs("The fork server (pid " + strconv.Itoa(server) + ") has ended")
	r.gone(before...)
	r.runs("echo")
	r.runs("echo")
	r.eventually("all are replaced", func() bool {
		return !slices.ContainsFunc(r.pids(2), func(pid int) bool { return slices.Contains(before, pid) })
	})
}

// The task of a child that was about to publish the body of a chord, and has died, does not run again as long as the chord is claimed.
func TestKilledWithAClaim(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.claim = time.Second
	r.start(1)
	began := time.Now()
	if got := r.runs("claim"); got != "again" {
		t.Error(got)
	}
	if took := time.Since(began); took < r.claim {
		t.Errorf("it has run again after %v", took)
	}
}

// Children that do not start, for whatever reason, are tried again, later and later, and the
// tasks wait. One that says nothing is given up if it is to replace another; the next has longer.
func TestChildrenThatDoNotStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, behaviour, log string
		replaces             bool
	}{
		"die":          {"start", "dies", "Cannot start a child: it ended before it was up: exitcode 1", false},
		"say nothing":  {"start", "mute", "Cannot start a child: it was not up after 2s (worker_proc_alive_timeout)", true},
		"nor the next": {"start", "mute", "Cannot start a child: it was not up after 4s (worker_proc_alive_timeout)", true},
		"say garbage":  {"start", "early", "Cannot start a child: it ended before it was up: signal 9 (SIGKILL)", false},
		"no fork":      {"spawn", "fails", "Cannot start a child: cannot start a process: no memory", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if c.replaces {
				r.start(1)
				r.outcome(r.send("echo"))
				r.tell(c.file, c.behaviour)
				r.send("die")
			} else {
				r.tell(c.file, c.behaviour)
				r.start(1)
			}
			id := r.send("echo")
			r.logs(c.log)
			if n := strings.Count(r.log.String(), "Cannot start a child"); n > 5 {
				t.Errorf("%d tries at once", n)
			}
			r.tell(c.file, "")
			r.outcome(id)
		})
	}
}

// The first children may take as long as they like, and end with the worker.
func TestSlowFirstChildren(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tell("start", "slow")
	r.start(1)
	r.outcome(r.send("echo"))
	if strings.Contains(r.log.String(), "Cannot start a child") {
		t.Error("a child was given up")
	}

	muted := newRig(t)
	muted.tell("start", "mute")
	muted.start(1)
	muted.send("echo")
	muted.stop()
}

// The new code takes over without a gap: until the answer both may run, and then only the new.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tell("version", "1")
	r.start(2)
	old, busy := append(r.pids(2), r.app.Manifest().PID), r.send("stop")
	r.eventually("the task runs", func() bool { return r.has("runs") })
	var ids []string
	for range 50 {
		ids = append(ids, r.send("echo"))
	}
	r.tell("version", "2")
	if err := r.worker.Operations().Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if got := r.outcome(id); !strings.HasPrefix(got, "1 ") && !strings.HasPrefix(got, "2 ") {
			t.Error(got)
		}
	}
	for range 4 {
		if got, _, _ := strings.Cut(strings.TrimPrefix(r.runs("echo"), "2 "), " "); slices.Contains(old, atoi(t, got)) {
			t.Errorf("it ran in an old process, %s", got)
		}
	}
	r.worker.Operations().Terminate(int(syscall.SIGKILL), busy) // the old fork server ends with its last child
	r.gone(old...)
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// New code that does not load, or whose children do not start, changes nothing.
func TestRestartThatFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(1)
	before := r.pids(1)
	r.tell("load", "broken")
	var broken *LoadError
	if err := r.worker.Operations().Restart(t.Context()); !errors.As(err, &broken) || broken.Text != "a text" || broken.Traceback != "a traceback" {
		t.Error(err)
	}
	r.tell("load", "")
	r.tell("start", "dies")
	if err := r.worker.Operations().Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot start a child: it ended before it was up") {
		t.Error(err)
	}
	r.tell("load", "hangs")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.worker.Operations().Restart(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	r.runs("echo")
	if after := r.pids(1); after[0] != before[0] {
		t.Errorf("process %d, not %d", after[0], before[0])
	}
}

// A fork server that died is started again as long as it takes, and meanwhile nobody waits
// who only asks.
func TestAppThatDoesNotLoadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(1)
	r.pids(1)
	r.tell("load", "broken")
	r.kill(r.app.Manifest().PID)
	r.logs("Cannot load the app again: ")
	r.app.pool.Info()
	id := r.send("echo")
	r.tell("load", "")
	r.outcome(id)
	r.logs("The app is loaded again")
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	for behaviour, want := range map[string]string{
		"broken":  "Unable to load celery application.\na text",
		"dies":    os.Args[0] + ", the Python that was named, ended before it had loaded the app: exitcode 1",
		"garbage": "python: cannot read what the fork server says: ",
		"strange": "python: cannot read what the fork server says of the app: ",
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.tell("load", behaviour)
			if _, err := r.load(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v, not %s", err, want)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.tell("load", "hangs")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := r.load(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// An app that was never served ends, too, and ends twice.
func TestClose(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	app, err := r.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	app.Close()
	app.Close()
	r.gone(app.Manifest().PID)
	if err := app.pool.Restart(t.Context()); err == nil {
		t.Error("a closed app was loaded again")
	}
}

// A fork server that does not do what it is told is ended.
func TestCloseOfStoppedServer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	app, err := r.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(app.Manifest().PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	app.Close()
	r.gone(app.Manifest().PID)
}

// A task that is called in the midst of something else runs in a child of its own.
func TestCall(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(1)
	r.pids(1)
	call := func(ctx context.Context, name string, failed *tasks.Failure) (string, error) {
		req := &tasks.Request{Task: &protocol.Task{Name: name, ID: "1", Args: []byte("[1, 2]")}, Failed: failed}
		result, err := r.app.pool.Call(ctx, &tasks.Entry{Name: name}, req)
		if err != nil {
			return "", err
		}
		return jsonText(result), nil
	}
	failure := &tasks.Failure{
		Request: &tasks.Request{Task: &protocol.Task{Name: "failed", ID: "2"}}, Traceback: "trace",
		Exception: &protocol.Exception{Type: "KeyError", Module: "builtins"},
	}
	for _, c := range []struct {
		name, want string
		failed     *tasks.Failure
	}{
		{"echo", `["echo",[[1,2],{}],""]`, nil},
		{"unread", `"again"`, nil}, // the first child ends before it has begun
		{
			"errback", `["errback",[[1,2],{}],"{\"id\": \"2\", \"task\": \"failed\", \"traceback\": \"trace\", ` +
				`\"type\": \"KeyError\", \"module\": \"builtins\", \"message\": []}"]`, failure,
		},
	} {
		if got, err := call(t.Context(), c.name, c.failed); err != nil || got != c.want {
			t.Errorf("%s: %s, %v", c.name, got, err)
		}
	}
	if _, err := call(t.Context(), "raise", nil); err == nil || err.Error() != "ValueError: no" {
		t.Error(err)
	}
	own := r.pids(2)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := call(ctx, "mute", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	r.gone(own[1])
	r.stop()
	if _, err := call(t.Context(), "echo", nil); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var b backoff
	var waits []time.Duration
	for range 10 {
		waits = append(waits, b.next(0))
	}
	if waits[0] != 0 || waits[1] != shortestPause || waits[2] != 2*shortestPause || waits[9] != longestPause || !slices.IsSorted(waits) {
		t.Error(waits)
	}
	for range 100 {
		if d := b.next(time.Second); d != longestPause {
			t.Fatal(d)
		}
	}
	for _, lasted := range []time.Duration{2 * longestPause, time.Second, time.Minute} { // it was no failure before
		if d := b.next(lasted); d != 0 {
			t.Errorf("%v after %v", d, lasted)
		}
	}
}
