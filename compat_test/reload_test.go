package compat_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const reloadedApp = `
import os
from celery import Celery, bootsteps
from redis import Redis

version = open("version.txt").read()
if version == "broken":
    raise ValueError("this version is broken")
app = Celery("reloaded", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.worker_pool_restarts = True
redis = Redis.from_url(os.environ["BROKER"])

@app.task(bind=True)
def note(self):
    redis.rpush("runs", self.request.id)
    return version

if version == "refused":
    class Consumes(bootsteps.ConsumerStep):
        def get_consumers(self, channel):
            return []

    app.steps["consumer"].add(Consumes)

if version != "1":
    @app.task
    def new():
        return version
`

// reloadClient sends tasks with some breaks in between, and prints what versions ran them.
const reloadClient = `
import json, os, sys, time
from celery import Celery
app = Celery(broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
sent = []
for i in range(int(sys.argv[2])):
    sent.append(app.send_task(sys.argv[1]))
    time.sleep(0.003)
print(json.dumps([r.get(timeout=60) for r in sent]))
`

// startVersioned starts a worker of ours for an app that reads version.txt, and returns what writes files beside it.
func startVersioned(t *testing.T, module, source string, flags ...string) (server *redisServer, a app, w *process, write func(name, text string)) {
	t.Helper()
	server, folder := startRedis(t), t.TempDir()
	write = func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(module+".py", source)
	write("version.txt", "1")
	a = app{broker: server.url(0)}
	flags = append([]string{"-A", module, "--python", a.python(), "worker", "-c", "2", "-l", "info"}, flags...)
	w = start(t, "apium worker", folder, a.env(t), apiumBinary, flags...)
	w.waitLog(t, " ready.")
	return server, a, w, write
}

// The code of an app is loaded anew while tasks keep coming: none is lost and none runs twice, and
// what is sent after the answer runs the new code. Code that does not load changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	server, a, w, write := startVersioned(t, "reloaded", reloadedApp)
	tasks := 0
	send := func(name string, n string) (versions []string) {
		t.Helper()
		a.run(t, &versions, reloadClient, name, n)
		return versions
	}
	only := func(want, name, n string) {
		t.Helper()
		versions := send(name, n)
		for _, got := range versions {
			if got != want {
				t.Errorf("%s ran version %s, not %s", name, got, want)
			}
		}
		if name == "reloaded.note" {
			tasks += len(versions)
		}
	}
	only("1", "reloaded.note", "10")

	stream := make(chan int)
	go func() { stream <- len(send("reloaded.note", "400")) }()
	eventually(t, patience, "the stream runs", func() bool { return server.int(t, "LLEN", "runs") > 20 })
	write("version.txt", "2")
	w.signal(t, syscall.SIGHUP)
	w.waitLog(t, "The code of the app runs in new processes")
	only("2", "reloaded.note", "10")
	only("2", "reloaded.new", "3")
	tasks += <-stream

	write("version.txt", "broken")
	w.signal(t, syscall.SIGHUP)
	w.waitLog(t, "The app's code could not be loaded anew, and the worker goes on as it was")
	w.waitLog(t, "this version is broken")
	restart := func(arguments string) (replies []map[string]map[string]string) {
		t.Helper()
		a.run(t, &replies, `
import json, os
from celery import Celery
app = Celery(broker=os.environ["BROKER"])
print(json.dumps(app.control.broadcast("pool_restart", arguments=`+arguments+`, reply=True, timeout=30, limit=1)))`)
		return replies
	}
	said := func(what, want string, replies []map[string]map[string]string) {
		t.Helper()
		for _, reply := range replies {
			for _, answer := range reply {
				if strings.Contains(answer[what], want) {
					return
				}
			}
		}
		t.Errorf("%v has no %q: %q", replies, what, want)
	}
	said("error", "this version is broken", restart(`{"reload": True}`))
	only("2", "reloaded.note", "10")
	write("version.txt", "refused")
	w.signal(t, syscall.SIGHUP)
	w.waitLog(t, "reloaded.Consumes (")
	said("error", "reloaded.Consumes (", restart(`{"reload": True}`))
	only("2", "reloaded.note", "10")
	write("version.txt", "3")
	write("more.py", "from reloaded import app\n\n@app.task\ndef late():\n    return 'late'\n")
	said("ok", "reload started", restart(`{"modules": ["more"], "reload": True}`))
	only("3", "reloaded.note", "10")
	only("late", "more.late", "2")

	if runs := server.strings(t, "LRANGE", "runs", 0, -1); len(runs) != tasks || len(unique(runs)) != tasks {
		t.Errorf("%d tasks ran %d times, %d of them", tasks, len(runs), len(unique(runs)))
	}
	children := descendants(t, w.cmd.Process.Pid)
	w.signal(t, syscall.SIGTERM)
	w.exitCode(t)
	wantGone(t, children)
}

// With --ignore-python-hooks new code goes on without what cannot be kept, as the first did.
func TestReloadIgnoresHooks(t *testing.T) {
	t.Parallel()
	_, a, w, write := startVersioned(t, "reloaded", reloadedApp, "--ignore-python-hooks")
	write("version.txt", "refused")
	w.signal(t, syscall.SIGHUP)
	w.waitLog(t, "Going on without reloaded.Consumes (")
	var versions []string
	if a.run(t, &versions, reloadClient, "reloaded.note", "1"); !slices.Equal(versions, []string{"refused"}) {
		t.Errorf("versions %v", versions)
	}
}

func unique(texts []string) map[string]bool {
	all := map[string]bool{}
	for _, text := range texts {
		all[text] = true
	}
	return all
}
