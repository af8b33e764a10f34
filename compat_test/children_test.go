package compat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// startChildren starts an Apium worker that runs the tasks of a Python app in child processes.
func (a app) startChildren(t *testing.T, args ...string) *process {
	t.Helper()
	if a.module == "" {
		a.module = "tapp"
	}
	flags := []string{"-A", a.module, "--python", a.python(), "worker", "-c", "2", "-l", "info"}
	p := start(t, "apium worker", appDir, a.env(t), apiumBinary, append(flags, args...)...)
	p.waitLog(t, " ready.")
	return p
}

// Tasks of a Python app run in child processes, whichever way they end, and none of the
// processes is left when the worker has ended. So it is if each child loads the app itself.
func TestChildren(t *testing.T) {
	t.Parallel()
	for _, version := range append(slices.Sorted(maps.Keys(peers)), "spawned") {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{venv: peers[version], broker: server.url(0), module: "children"}
			name, args := "ForkPoolWorker", []string(nil)
			if version == "spawned" {
				name, args = "SpawnPoolWorker", []string{"--pool-start-method", "spawn", "--max-tasks-per-child", "7"}
			}
			w := a.startChildren(t, args...)
			var got map[string]any
			a.run(t, &got, "children.py")
			died, _ := got["die"].(string)
			got["die"], _, _ = strings.Cut(died, " Job: ")
			want := map[string]any{
				"add": 3.0, "fail": "ValueError: no", "again": 2.0, "die": "WorkerLostError: Worker exited prematurely: exitcode 3",
				"soft": "SoftTimeLimitExceeded", "hard": "TimeLimitExceeded: TimeLimitExceeded(0.5,)", "process": true,
				"chain": 6.0, "chord": 20.0, "starmap": []any{3.0, 7.0},
				"imported": []any{}, // by the child itself: then it would be in each child's memory, and take time in each
			}
			if g, w := toJSON(t, got), toJSON(t, want); g != w {
				t.Errorf("outcomes:\n%s\nwant\n%s", g, w)
			}
			w.waitLog(t, "] printed in a task")
			if w.log.contains("demo.") {
				t.Error("the program's sample tasks are served along with the app's")
			}
			w.waitLog(t, ": WARNING/"+name+"-")
			w.waitLog(t, "Process '"+name+"-")
			children := descendants(t, w.cmd.Process.Pid)
			if len(children) < 3 { // the fork server and two children
				t.Errorf("processes below the worker: %v", children)
			}
			w.signal(t, syscall.SIGTERM)
			if code := w.exitCode(t); code != 0 {
				t.Errorf("exit status %d", code)
			}
			if n := w.log.count("the loop ends"); n < 2 {
				t.Errorf("what is wrapped around billiard's loop ended %d times, want once in each child", n)
			}
			wantGone(t, children)
		})
	}
}

// An end of the worker is the end of all processes below it, too.
func TestChildrenDieWithTheirWorker(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), module: "children"}
	w := a.startChildren(t)
	children := descendants(t, w.cmd.Process.Pid)
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	w.exitCode(t)
	wantGone(t, children)
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// descendants returns the ids of all processes below one.
func descendants(t *testing.T, pid int) (pids []int) {
	t.Helper()
	out, err := exec.Command("ps", "-e", "-o", "pid=,ppid=").Output()
	if err != nil {
		t.Fatal(err)
	}
	below := map[int][]int{}
	for line := range strings.Lines(string(out)) {
		var child, parent int
		if _, err := fmt.Sscan(line, &child, &parent); err == nil {
			below[parent] = append(below[parent], child)
		}
	}
	for next := below[pid]; len(next) > 0; next = append(next[1:], below[next[0]]...) {
		pids = append(pids, next[0])
	}
	return pids
}

func wantGone(t *testing.T, pids []int) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("processes %v have ended", pids), func() bool {
		return !slices.ContainsFunc(pids, func(pid int) bool { return syscall.Kill(pid, 0) == nil })
	})
}

// Results go where the app has them, though the worker cannot write there itself: those of tasks
// that have run, and those that Celery's MainProcess stores, of tasks that have not, or were lost.
func TestResultsWhereOnlyPythonStoresThem(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), backend: "file://" + t.TempDir(), module: "children"}
	w := a.startChildren(t)
	var got map[string]any
	a.run(t, &got, "children.py")
	for name, want := range map[string]any{
		"add": 3.0, "fail": "ValueError: no", "die": "WorkerLostError: Worker exited prematurely: exitcode 3",
		"hard": "TimeLimitExceeded: TimeLimitExceeded(0.5,)", "chain": 6.0, "chord": 20.0,
	} {
		if text, ok := got[name].(string); ok { // newer versions say which job it was
			got[name], _, _ = strings.Cut(text, " Job: ")
		}
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	var unknown string
	a.run(t, &unknown, `
import json, children
from children import app, outcome
print(json.dumps(outcome(app.send_task("no.such"))))`)
	if !strings.HasPrefix(unknown, "NotRegistered: ") {
		t.Errorf("an unknown task: %s", unknown)
	}
	w.waitLog(t, "results:     file://")
}

// Who has tasks in Go hears of settings that only Python knows.
func TestWhatOnlyPythonKnows(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), module: "routed"}
	w := start(t, "apium worker", appDir, a.env(t), workerBinary, "-A", "routed", "--python", a.python(), "worker", "-c", "1")
	w.waitLog(t, "task_routes is known to Python only (")
	if log := a.startChildren(t).log; log.contains("known to Python only") {
		t.Error("a worker without Go handlers warns of what these do without")
	}
}

// The options that an app adds to the worker's are taken, and unknown ones are still mistakes.
func TestOptionsOfTheApp(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{venv: venv, broker: server.url(0), module: "useroptions"}
			for _, test := range []struct {
				args []string
				want []string
			}{
				{nil, []string{"preload: none", "celeryd_init: hello, False", "step: hello, False"}},
				{
					[]string{"--greeting", "good day", "-w", "--zone=north"},
					[]string{"preload: north", "celeryd_init: good day, True", "step: good day, True"},
				},
			} {
				w := a.startChildren(t, test.args...)
				for _, line := range test.want {
					if !w.log.contains(line + "\n") {
						t.Errorf("%q: it does not say %q", test.args, line)
					}
				}
				w.kill()
			}
			for args, want := range map[string]string{
				"--greting=x":  "Error: No such option '--greting'.",
				"--concurency": "Error: No such option '--concurency'. Did you mean '--concurrency'?",
			} {
				w := start(t, "apium worker", appDir, a.env(t), apiumBinary, "-A", "useroptions", "--python", a.python(), "worker", args)
				if code := w.exitCode(t); code != 2 || !w.log.contains(want) {
					t.Errorf("%s: exit status %d, %s", args, code, tail(w.log.String(), 300))
				}
			}
		})
	}
}
