package compat_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tutorialDir has the project of Celery's tutorial.
const tutorialDir = "testdata/tutorial"

// activated are the variables that a virtual environment's activate script sets.
func activated(venv string) []string {
	return []string{"VIRTUAL_ENV=" + venv, "PATH=" + filepath.Join(venv, "bin") + string(filepath.ListSeparator) + os.Getenv("PATH")}
}

// What the tutorial calls.
const tutorialCalls = `
import json
from celery import chord, group
from mysite.tasks import add, hello, mul, total

sent = add.delay(4, 4)
print(json.dumps([sent.id, sent.get(timeout=60), hello.delay().get(timeout=60), (add.s(4, 4) | mul.s(8))().get(timeout=60),
    group(add.s(i, i) for i in range(10))().get(timeout=60), chord((add.s(i, i) for i in range(10)), total.s())().get(timeout=60)]))
`

// followTutorial does what Celery's tutorial does with Celery's worker, and then with one word in
// place of another; Flower beside it shows the same of both.
func followTutorial(t *testing.T, venv string) {
	server := startRedis(t)
	a := app{venv: venv, broker: server.url(0), variables: activated(venv)}
	f := a.startFlowerOf(t, tutorialDir, "mysite")
	for _, program := range []string{"celery", "apium"} {
		w := start(t, program, tutorialDir, a.env(t), filepath.Join(venv, "bin", program), "-A", "mysite", "worker", "--pool=solo", "-l", "info")
		w.waitLog(t, "Events of group {task} enabled by remote.")
		var got []any
		if err := json.Unmarshal([]byte(command(t, tutorialDir, a.env(t), a.python(), "-c", tutorialCalls)), &got); err != nil {
			t.Fatal(err)
		}
		id, _ := got[0].(string)
		if g, want := toJSON(t, got[1:]), `[8,"hello",64,[0,2,4,6,8,10,12,14,16,18],90]`; g != want {
			t.Errorf("%s: results %s, want %s", program, g, want)
		}
		f.wantTutorial(t, w, id)
		w.waitLog(t, "WARNING/MainProcess] hello from a task")
		w.waitLog(t, "INFO/MainProcess] Task mysite.tasks.add["+id+"] received")
		w.waitLog(t, "INFO/MainProcess] Task mysite.tasks.add["+id+"] succeeded in ")
		w.signal(t, syscall.SIGTERM)
		if code := w.exitCode(t); code != 0 {
			t.Errorf("%s: exit status %d", program, code)
		}
	}
}

// wantTutorial looks at what Flower shows of the worker and of a task.
func (f *flower) wantTutorial(t *testing.T, w *process, id string) {
	t.Helper()
	workers := map[string]flowerWorker{}
	if f.get("/api/workers?refresh=1", &workers); len(workers) != 1 {
		t.Fatalf("%s: Flower knows these workers: %v", w.name, workers)
	}
	for name, worker := range workers {
		if !f.online(name) {
			t.Errorf("%s: Flower takes %s for offline", w.name, name)
		}
		own := slices.DeleteFunc(worker.Registered, func(task string) bool { return strings.HasPrefix(task, "celery.") })
		if diff := cmp.Diff([]string{"mysite.tasks.add", "mysite.tasks.hello", "mysite.tasks.mul", "mysite.tasks.total"}, own); diff != "" {
			t.Errorf("%s: registered tasks (-want +got):\n%s", w.name, diff)
		}
		if worker.Stats.Pool["implementation"] != "celery.concurrency.solo:TaskPool" || worker.Stats.PID != w.cmd.Process.Pid {
			t.Errorf("%s: stats: %+v", w.name, worker.Stats)
		}
		f.wantTask(id, "SUCCESS", map[string]any{"name": "mysite.tasks.add", "args": "(4, 4)", "kwargs": "{}", "result": "8", "worker": name})
	}
}
