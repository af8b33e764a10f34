package compat_test

import (
	"strings"
	"syscall"
	"testing"
)

const reloadedMainApp = `
import os, time
from celery import Celery, bootsteps, signals
from celery.worker.control import inspect_command
from redis import Redis

version = open("version.txt").read()
app = Celery("reloadedmain", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
redis = Redis.from_url(os.environ["BROKER"])
note = lambda what: redis.rpush("notes", what + " " + version)
signals.worker_ready.connect(lambda **_: note("ready"), weak=False)
signals.worker_shutdown.connect(lambda **_: note("shutdown"), weak=False)
if version == "2":
    signals.task_received.connect(lambda **_: note("received"), weak=False)
    signals.task_unknown.connect(lambda **_: note("unknown"), weak=False)

class Step(bootsteps.StartStopStep):
    def start(self, worker): note("start")
    def stop(self, worker): note("stop")

app.steps["worker"].add(Step)

@inspect_command()
def which(state):
    return version

@app.task
def wait():
    redis.blpop("go")
    return version

@app.task
def same():
    return version
`

// What stands in for the MainProcess has the new code, too, as soon as that is loaded and however long old
// children go on, and so it is when the fork server is killed. It is ended and started as a worker is.
func TestReloadOfTheMainProcess(t *testing.T) {
	t.Parallel()
	server, a, w, write := startVersioned(t, "reloadedmain", reloadedMainApp)
	var notes []string
	noted := func(more ...string) {
		t.Helper()
		notes = append(notes, more...)
		want, got := strings.Join(notes, ", "), ""
		eventually(t, patience, "the app notes "+strings.Join(more, ", "), func() bool {
			got = strings.Join(server.strings(t, "LRANGE", "notes", 0, -1), ", ")
			return len(got) >= len(want)
		})
		if got != want {
			t.Fatalf("notes: %s; want %s", got, want)
		}
	}
	answers := func(want string) {
		t.Helper()
		var got []map[string]string
		a.run(t, &got, "import json, os\nfrom celery import Celery\n"+
			"app = Celery(broker=os.environ['BROKER'])\nprint(json.dumps(app.control.broadcast('which', reply=True, timeout=30, limit=1)))")
		if len(got) != 1 || len(got[0]) != 1 {
			t.Fatalf("answers: %v", got)
		}
		for _, version := range got[0] {
			if version != want {
				t.Errorf("the command's version is %s, not %s", version, want)
			}
		}
	}
	noted("start 1", "ready 1")
	answers("1")
	var id string
	a.run(t, &id, "import json, os\nfrom celery import Celery\n"+
		"app = Celery(broker=os.environ['BROKER'], backend=os.environ['BACKEND'])\nprint(json.dumps(app.send_task('reloadedmain.wait').id))")
	w.waitLog(t, "Task reloadedmain.wait["+id+"] received")
	old := childrenOf(t, w.cmd.Process.Pid)

	write("version.txt", "2")
	w.signal(t, syscall.SIGHUP)
	noted("stop 1", "shutdown 1", "start 2", "ready 2")
	answers("2")
	w.waitLog(t, "The code of the app runs in new processes")
	send := func(script string) {
		t.Helper()
		a.run(t, nil, "import os\nfrom celery import Celery\n"+
			"app = Celery(broker=os.environ['BROKER'], backend=os.environ['BACKEND'])\napp.send_task('"+script+"')")
	}
	send("reloadedmain.same")
	noted("received 2")
	send("nobody.knows")
	noted("unknown 2")
	server.do(t, "RPUSH", "go", "1") // the last child of the old code, and so all of its processes, end
	wantGone(t, old)
	if w.log.contains("has ended") {
		t.Error("the end of the old processes was logged as a mistake")
	}

	for _, pid := range childrenOf(t, w.cmd.Process.Pid) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	noted("start 2", "ready 2")
	answers("2")
	w.signal(t, syscall.SIGTERM)
	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	noted("stop 2", "shutdown 2")
}
