package compat_test

import (
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// celeryCommand is the command line of Celery's own worker, with options before the subcommand.
func (a app) celeryCommand(globals, options []string) []string {
	return slices.Concat([]string{a.python(), "-m", "celery", "-A", a.module}, globals, []string{"worker"}, options)
}

func (a app) apiumCommand(globals, options []string) []string {
	return slices.Concat([]string{apiumBinary, "-A", a.module, "--python", a.python()}, globals, []string{"worker"}, options)
}

// Children are as many as Celery's, and its report lists the same software.
func TestConcurrencyAndReport(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{"absent": {"-O", "fair", "-l", "info"}, "auto": {"-O", "default", "-c", "auto", "-l", "info"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			var told [2][]any // slots, size of the pool, software, loader
			for i, url := range []string{server.url(0), server.url(1)} {
				a := app{broker: url, module: "pools"}
				command := a.celeryCommand(nil, options)
				if i == 1 {
					command = a.apiumCommand(nil, options)
				}
				w := start(t, command[0], appDir, a.env(t), command[0], command[1:]...)
				w.waitLog(t, " ready.")
				a.run(t, &told[i], `
import json, re, pools
inspect = pools.app.control.inspect(timeout=30, limit=1)
(stats,), (report,) = inspect.stats().values(), inspect.report().values()
print(json.dumps([stats["pool"]["max-concurrency"], len(stats["pool"]["processes"])] +
    [re.search(name + r":(\S+)", report["ok"]).group(1) for name in "celery kombu py billiard redis".split()] +
    [re.search(r"loader +-> (.*)", report["ok"]).group(1)]))`)
				w.signal(t, syscall.SIGTERM)
			}
			if celery, apium := toJSON(t, told[0]), toJSON(t, told[1]); celery != apium {
				t.Errorf("%s\nCelery's worker: %s", apium, celery)
			}
			if told[0][0] != float64(runtime.NumCPU()) {
				t.Errorf("%v slots on %d processors", told[0][0], runtime.NumCPU())
			}
		})
	}
}

// Mistakes in the options of children are Celery's mistakes.
func TestWrongOptionsOfChildren(t *testing.T) {
	t.Parallel()
	a := app{broker: "redis://127.0.0.1:1/0", module: "pools"}
	const traceback = 1 // Celery ends with that, and with this status
	for _, test := range []struct {
		options, complaint string
		celery             int // its exit status, where ours is 2
	}{
		{"-O fast", "Invalid value for '-O' / '--optimization': 'fast' is not one of 'default', 'fair'", 2},
		{"-c many", "Invalid value for '-c' / '--concurrency': must be a non-negative integer or 'auto', got 'many'", 2},
		{"-c -1", "Invalid value for '-c' / '--concurrency': must be a non-negative integer or 'auto', got '-1'", 2},
		{"-P fibers", "Invalid value for '-P' / '--pool': 'fibers' is not one of 'prefork', 'eventlet', 'gevent', 'solo', 'processes', 'threads', 'custom'", 2},
		{"-P custom", "No module named 'custom'", traceback},
		{"-I nowhere", "No module named 'nowhere'", traceback},
		{"--pool-start-method thread", "Invalid value for '--pool-start-method': 'thread' is not one of 'fork', 'spawn'", 2},
		{"--max-tasks-per-child x", "Invalid value for '--max-tasks-per-child': 'x' is not a valid integer", 2},
		{"--max-tasks-per-child 0", "maxtasksperchild must be a positive int or None", traceback},
		{"--max-memory-per-child 1.5", "Invalid value for '--max-memory-per-child': '1.5' is not a valid integer", 2},
		{"--prefetch-multiplier x", "Invalid value for '--prefetch-multiplier': 'x' is not a valid integer", 2},
		{"--autoscale x", "Invalid value for '--autoscale': ", 2},
		{"--autoscale 3,1,2", "Invalid value for '--autoscale': ", 2},
		{"--time-limit x", "Invalid value for '--time-limit': 'x' is not a ", 2},
		{"--soft-time-limit x", "Invalid value for '--soft-time-limit': 'x' is not a ", 2},
		{"-l loud", "Invalid value for '-l' / '--loglevel': 'LOUD' is not one of 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'FATAL'", 2},
		{"--queues", "Option '--queues' requires an argument", 2},
	} {
		t.Run(test.options, func(t *testing.T) {
			t.Parallel()
			options := strings.Fields(test.options)
			for status, command := range map[int][]string{test.celery: a.celeryCommand(nil, options), -2: a.apiumCommand(nil, options)} {
				w := start(t, command[0], appDir, a.env(t), command[0], command[1:]...)
				code := w.exitCode(t)
				if code != max(status, -status) || !w.log.contains(test.complaint) {
					t.Errorf("%v: exit status %d, %s", command, code, w.log)
				}
			}
		})
	}
}

// Without a queue Celery's worker waits to be told of one; ours says so and ends, instead of consuming others.
func TestNoQueueIsLeft(t *testing.T) {
	t.Parallel()
	a := app{broker: startRedis(t).url(0), module: "pools"}
	options := []string{"-X", "celery", "-c", "1", "-l", "info"}
	command := a.celeryCommand(nil, options)
	celery := start(t, command[0], appDir, a.env(t), command[0], command[1:]...)
	command = a.apiumCommand(nil, options)
	apium := start(t, command[0], appDir, a.env(t), command[0], command[1:]...)
	if code := apium.exitCode(t); code != 2 || !apium.log.contains("Error: No queue is left to consume from") {
		t.Errorf("exit status %d\n%s", code, apium.log)
	}
	celery.waitLog(t, " ready.")
	if celery.log.contains("exchange=celery") {
		t.Errorf("Celery's consumes a queue:\n%s", celery.log)
	}
}

// What the app does in a new process may take longer than worker_proc_alive_timeout when the worker starts, as in Celery. Processes
// that come later are killed then; in Celery again and again, while here the next has longer.
func TestSlowProcessInit(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	const first = `import json, slowinit; print(json.dumps(slowinit.pid.delay().get(timeout=100) > 0))`
	celery, apium := app{broker: server.url(0), module: "slowinit"}, app{broker: server.url(1), module: "slowinit"}
	celery.startWorker(t, "-c", "1")
	w := apium.startChildren(t, "-c", "1", "--max-tasks-per-child", "1")
	var ran bool
	celery.run(t, &ran, first)
	apium.run(t, &ran, first)
	w.waitLog(t, "] succeeded in ")
	if before, _, _ := strings.Cut(w.log.String(), "] succeeded in "); strings.Contains(before, "Cannot start a child") {
		t.Error("one of the first children was killed")
	}
	apium.run(t, &ran, first)
	w.waitLog(t, "Cannot start a child: it was not up after 200ms (worker_proc_alive_timeout)")
	w.waitLog(t, "Cannot start a child: it was not up after 400ms (worker_proc_alive_timeout)")
}

var varying = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d [\d:,]+|in [\d.e-]+s`)

// Lines of children are colored as Celery's are, where there is a terminal and nothing is against it.
func TestColorsOfChildren(t *testing.T) {
	t.Parallel()
	const plain, colored = false, true
	for name, test := range map[string]struct {
		terminal bool
		globals  []string
		color    any  // of the setting worker_log_color
		want     bool // colors
	}{
		"terminal":              {true, nil, nil, colored},
		"terminal, on":          {true, nil, true, colored},
		"terminal, not wanted":  {true, []string{"--no-color"}, true, plain},
		"no terminal, switched": {false, nil, true, plain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			var lines [2]string
			for i, url := range []string{server.url(0), server.url(1)} {
				a := app{broker: url, module: "tapp", settings: map[string]any{}}
				if test.color != nil {
					a.settings["worker_log_color"] = test.color
				}
				options := []string{"-c", "1", "-l", "info", "--without-gossip", "--without-mingle"}
				command := a.celeryCommand(test.globals, options)
				if i == 1 {
					command = a.apiumCommand(test.globals, options)
				}
				if test.terminal {
					command = slices.Concat([]string{a.python(), "terminal.py"}, command)
				}
				w := start(t, command[0], appDir, a.env(t), command[0], command[1:]...)
				a.run(t, nil, `
import tapp
for result in tapp.fail.delay("no"), tapp.add.delay(1, 2):
    result.get(timeout=60, propagate=False)`)
				w.waitLog(t, "Task tapp.add[")
				w.waitLog(t, "] succeeded in ")
				w.signal(t, syscall.SIGTERM)
				w.exitCode(t)
				for line := range strings.Lines(w.log.String()) {
					if line = strings.TrimRight(line, "\r\n"); strings.Contains(line, "/ForkPoolWorker-1]") {
						lines[i] += varying.ReplaceAllString(line, "…") + "\n"
					}
				}
			}
			if lines[0] != lines[1] {
				t.Errorf("%q\nCelery's worker: %q", lines[1], lines[0])
			}
			if test.want != strings.Contains(lines[0], "\x1b[") {
				t.Errorf("colors: %q", lines[0])
			}
		})
	}
}

// TestGoConcurrency: -c are the children, --go-concurrency the slots of Go handlers, and no task waits for those of the
// other kind.
func TestGoConcurrency(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), backend: server.url(1)}
	w := start(t, "apium worker", appDir, append(a.env(t), `GO_TASKS=^tapp\.nap$`), workerBinary,
		"-A", "tapp", "--python", a.python(), "worker", "-c", "1", "--go-concurrency", "3", "-l", "info")
	w.waitLog(t, " ready.")
	var got map[string]int
	a.run(t, &got, `
import json, time, tapp
naps = [tapp.nap.delay(600) for _ in range(5)] + [tapp.nap_late.delay(600) for _ in range(3)]
def running():
    tasks = [task for of in (tapp.app.control.inspect(timeout=2).active() or {}).values() for task in of]
    return {name: sum(task["name"] == name for task in tasks) for name in ("tapp.nap", "tapp.nap_late")}
deadline = time.time() + tapp.PATIENCE
while sum(running().values()) < 4 and time.time() < deadline:
    time.sleep(.1)
counts = running()
tapp.app.control.revoke([r.id for r in naps if r is not naps[-1]], terminate=True)
quick = tapp.nap.delay(0)
quick.get(timeout=tapp.PATIENCE)
more = [tapp.nap.delay(600) for _ in range(4)]
tapp.app.control.revoke(naps[-1].id, terminate=True)
tapp.add.delay(1, 2).get(timeout=tapp.PATIENCE)
print(json.dumps(counts))
`)
	if diff := cmp.Diff(map[string]int{"tapp.nap": 3, "tapp.nap_late": 1}, got); diff != "" {
		t.Errorf("what runs at once (-want +got):\n%s", diff)
	}
}
