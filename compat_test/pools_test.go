package compat_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Each of Celery's pools does here what it does in Celery's own worker: names of processes and
// threads, time limits, terminating, growing, and what it tells of itself. It ends what it is at.
func TestPools(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ pool, venv string }{
		{"solo", celery57},
		{"threads", celery57},
		{"gevent", celery57},
		{"eventlet", celery57},
		{"solo", celery44},
		{"threads", celery52},
	} {
		t.Run(tt.pool+" "+tt.venv, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			theirs := app{venv: tt.venv, broker: server.url(0), module: "pools"}
			ours := app{venv: tt.venv, broker: server.url(1), module: "pools"}
			args := []string{"-P", tt.pool, "-c", "3"}
			celery, apium := theirs.startWorker(t, args...), ours.startChildren(t, args...)
			var got, want map[string]any
			theirs.run(t, &want, "pools.py", tt.pool)
			ours.run(t, &got, "pools.py", tt.pool)
			if tt.venv != celery57 { // these do not tell
				delete(got["stats"].(map[string]any), "implementation")
				delete(want["stats"].(map[string]any), "implementation")
			}
			for name := range want {
				if g, w := toJSON(t, got[name]), toJSON(t, want[name]); g != w {
					t.Errorf("%s: %s, Celery: %s", name, g, w)
				}
			}
			apium.waitLog(t, ": WARNING/MainProcess] printed in a task")
			var id string
			ours.run(t, &id, `import json, time, pools; r = pools.sleep.delay(1)
while r.state != "PROGRESS": time.sleep(0.02)
print(json.dumps(r.id))`)
			apium.signal(t, syscall.SIGTERM)
			if code := apium.exitCode(t); code != 0 {
				t.Errorf("exit status %d", code)
			}
			var long any
			ours.run(t, &long, `import json, sys, pools; print(json.dumps(pools.app.AsyncResult(sys.argv[1]).get(timeout=1)))`, id)
			if long != 1.0 {
				t.Errorf("the task that ran at the shutdown returned %v", long)
			}
			celery.signal(t, syscall.SIGTERM)
		})
	}
}

// Threads that an app starts while it is loaded are not in its children: it is told so, unless
// each child loads the app itself.
func TestThreadsOfAnApp(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), module: "threaded"}
	const warning = "The app has started threads while it was loaded: of-the-app."
	a.startChildren(t).waitLog(t, "WARNING/MainProcess] "+warning)
	if w := a.startChildren(t, "--pool-start-method", "spawn"); w.log.contains(warning) {
		t.Error("they are warned of where nothing is forked")
	}
}

// A log file whose name has the number of the process is one for each.
func TestLogFilePerChild(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), module: "pools"}
	dir := t.TempDir()
	flags := []string{"-A", a.module, "--python", a.python(), "worker", "-c", "1", "-l", "info", "-f", filepath.Join(dir, "w%I.log")}
	start(t, "apium worker", appDir, a.env(t), apiumBinary, flags...)
	a.run(t, nil, `import pools; pools.who.delay().get(timeout=60)`)
	for name, text := range map[string]string{
		"w.log": " ready.", "w-1.log": ": INFO/ForkPoolWorker-1] Task pools.who[",
	} {
		eventually(t, patience, name+" has "+text, func() bool {
			log, err := os.ReadFile(filepath.Join(dir, name))
			return err == nil && strings.Contains(string(log), text)
		})
	}
}
