package compat_test

import (
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// faultyOutcomes calls a task of the app faulty, and prints what became of it and, after it, whether the
// worker's children take tasks as before.
const faultyOutcomes = `
import json, sys, time, faulty
def outcome(result):
    while not result.ready(): time.sleep(0.02) # Celery 5.2 waits a second for a result that is there already
    try: return json.dumps(result.get(timeout=60))
    except Exception as exc: return type(exc).__name__ + ": " + str(exc).partition(" Job: ")[0]
beside = [faulty.pid.delay() for _ in range(10)]
result = getattr(faulty, sys.argv[1]).delay(*json.loads(sys.argv[2]))
after = [faulty.pid.delay() for _ in range(10)]
found = [outcome(result)]
print(json.dumps(found + ["harmed" for other in beside + after if not outcome(other).isdigit()]))
`

// faulty calls a task that does what no task should, and tells what became of it.
func (a app) faulty(t *testing.T, task, arguments string) string {
	t.Helper()
	var found []string
	a.run(t, &found, faultyOutcomes, task, arguments)
	if len(found) > 1 {
		t.Errorf("%s: %d of the tasks beside it did not run", task, len(found)-1)
	}
	return found[0]
}

// Whatever a task does to its process, it is answered for, other tasks run, and no process is left
// but what the task itself has made a daemon of.
func TestFaultyTasks(t *testing.T) {
	t.Parallel()
	for _, version := range slices.Sorted(maps.Keys(peers)) {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{venv: peers[version], broker: server.url(0), module: "faulty"}
			w := a.startChildren(t)
			const killed = "WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL)"
			for task, want := range map[string]string{
				"daemonize":       "WorkerLostError: Worker exited prematurely: exitcode 3",
				"fork_and_return": "true",
				"fork_and_exit":   "true",
				"garbage":         killed,
				"freeze":          "TimeLimitExceeded: TimeLimitExceeded(0.5,)",
				"deaf":            "TimeLimitExceeded: TimeLimitExceeded(0.5,)",
				"close_all":       "null", // as with Celery, it has stored its success before it cannot answer
			} {
				if got := a.faulty(t, task, "[]"); got != want {
					t.Errorf("%s: %s, not %s", task, got, want)
				}
			}
			children := descendants(t, w.cmd.Process.Pid)
			w.signal(t, syscall.SIGTERM)
			if code := w.exitCode(t); code != 0 {
				t.Errorf("exit status %d", code)
			}
			wantGone(t, children)
			daemon := regexp.MustCompile(`left behind: (\d+)\.`).FindStringSubmatch(w.log.String())
			if daemon == nil {
				t.Fatal("no daemon was left behind")
			}
			pid, err := strconv.Atoi(daemon[1])
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("the daemon that a task has made: %v", err)
			}
			eventually(t, patience, "no process is left", func() bool { return len(belonging(t, "BROKER="+a.broker)) == 0 })
		})
	}
}

// Tasks that fill stdout and stderr wait for whoever reads that, and nobody else does. When nobody is
// there to read any more, nobody waits.
func TestReadersOfTheOutput(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), module: "faulty"}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := startInto(t, write, "apium worker", appDir, a.env(t), apiumBinary, "-A", "faulty", "--python", a.python(), "worker", "-c", "2", "-l", "warning")
	_ = write.Close()
	if got, want := a.faulty(t, "shout_on", "[]"), "TimeLimitExceeded: TimeLimitExceeded(1,)"; got != want {
		t.Errorf("while nobody reads: %s, not %s", got, want)
	}

	size := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, read) // until it is closed
		size <- n
	}()
	if got := a.faulty(t, "shout", "[200]"); strings.Contains(got, ":") {
		t.Errorf("while somebody reads: %s", got)
	}
	_ = read.Close()
	if n := <-size; n < 220_000_000 {
		t.Errorf("%d bytes were written", n)
	}

	if got, want := a.faulty(t, "shout", "[1]"), "BrokenPipeError: [Errno 32] Broken pipe"; got != want {
		t.Errorf("when nobody reads any more: %s, not %s", got, want)
	}
	children := descendants(t, w.cmd.Process.Pid)
	w.signal(t, syscall.SIGTERM)
	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	wantGone(t, children)
}

// A job that a child was sent and has not read when its fork server is killed runs in another.
func TestUnreadJobOfAKilledForkServer(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), module: "faulty"}
	w := a.startChildren(t, "-c", "1")
	forkServer := childrenOf(t, w.cmd.Process.Pid)[0]
	var child int
	a.run(t, &child, `import faulty; print(faulty.pid.delay().get(timeout=60))`)
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var id string
	a.run(t, &id, `import json, faulty; print(json.dumps(faulty.pid.delay().id))`)
	w.waitLog(t, "Task faulty.pid["+id+"] received")
	eventually(t, patience, "the job was sent", func() bool { return server.int(t, "HLEN", "unacked") == 0 })
	if err := syscall.Kill(forkServer, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var ran int
	a.run(t, &ran, `import sys, faulty; print(faulty.app.AsyncResult(sys.argv[1]).get(timeout=60))`, id)
	if ran == child {
		t.Error("it ran in the child that was stopped")
	}
}
