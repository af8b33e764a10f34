package compat_test

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
)

// goConsumer opens a consumer of ours in this process.
func goConsumer(t *testing.T, server *redisServer, cfg redisbroker.Config) *redisbroker.Consumer {
	t.Helper()
	cfg.URL = server.url(0)
	c, err := redisbroker.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// sendLater publishes tapp.work, due in some seconds, and returns when it is due.
func sendLater(t *testing.T, a app, key string, seconds int) time.Time {
	t.Helper()
	var now float64
	a.run(t, &now, `
import json, sys, time, datetime, tapp
now = datetime.datetime.now(datetime.timezone.utc)
tapp.work.apply_async([sys.argv[1], 0], eta=now + datetime.timedelta(seconds=int(sys.argv[2])))
print(json.dumps(now.timestamp()))
`, key, fmt.Sprint(seconds))
	return time.Unix(0, int64(now*1e9)).Add(time.Duration(seconds) * time.Second)
}

// TestParkedRunsInPython parks a message, kills every worker of ours, and lets a
// Python worker find it by its own sweep: it gets the message when it is due, not
// earlier, and runs it.
func TestParkedRunsInPython(t *testing.T) {
	t.Parallel()
	const timeout = 3
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), settings: eagerRestore(timeout)}
	ours := startWorker(t, a, "--visibility-timeout", fmt.Sprint(timeout))
	due := sendLater(t, a, "later", 25)
	eventually(t, patience, "the message is parked", func() bool {
		keys := server.strings(t, "HKEYS", "unacked")
		return len(keys) == 1 && len(keys[0]) > 13 && keys[0][:13] == "apium.parked:"
	})
	ours.kill()
	python := a.startWorker(t)
	eventually(t, patience, "the task is done", func() bool {
		if back := python.log.contains("received") || server.int(t, "LLEN", "celery") > 0; back && time.Now().Before(due) {
			t.Fatalf("came back %v before it is due", time.Until(due))
		}
		return server.journalLen(t, "done") == 1
	})
	if late := time.Since(due); late < 0 || late > allow(3*time.Second, due) {
		t.Errorf("done %v after it was due", late)
	}
	eventually(t, patience, "nothing is held", func() bool { return server.int(t, "HLEN", "unacked") == 0 })
	if j := readJournal(t, server); j.started["later"] != 1 {
		t.Errorf("started %d times", j.started["later"])
	}
	// The next worker of ours forgets what Python has restored.
	c := goConsumer(t, server, redisbroker.Config{Queues: broker.Named("celery")})
	eventually(t, patience, "the index is gone", func() bool {
		n, _, err := c.Parked(t.Context())
		return n == 0 && err == nil
	})
}

// TestPythonETARunsHere is the mirror image: a killed Python worker held a message
// for its ETA; our sweep finds it, and it runs on time.
func TestPythonETARunsHere(t *testing.T) {
	t.Parallel()
	const timeout = 3
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), settings: eagerRestore(timeout)}
	python := a.startWorker(t)
	due := sendLater(t, a, "later", 25)
	eventually(t, patience, "the Python worker holds it", func() bool { return server.int(t, "HLEN", "unacked") == 1 })
	python.kill()
	startWorker(t, a, "--visibility-timeout", fmt.Sprint(timeout),
		"--broker-transport-options", `{"unacked_restore_interval": 1, "unacked_restore_throttle": 1}`)
	eventually(t, patience, "the task is done", func() bool { return server.journalLen(t, "done") == 1 })
	if late := time.Since(due); late < 0 || late > allow(time.Second, due) {
		t.Errorf("done %v after it was due", late)
	}
	eventually(t, patience, "nothing is held", func() bool { return server.int(t, "HLEN", "unacked") == 0 })
	if j := readJournal(t, server); j.started["later"] != 1 {
		t.Errorf("started %d times", j.started["later"])
	}
}

// TestParkedBesidePython: while both live, Python's sweep never takes what is parked.
func TestParkedBesidePython(t *testing.T) {
	t.Parallel()
	const timeout = 6
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), settings: eagerRestore(timeout)}
	startWorker(t, a, "--visibility-timeout", fmt.Sprint(timeout))
	due := sendLater(t, a, "later", 25)
	eventually(t, patience, "the message is parked", func() bool { return server.int(t, "EXISTS", "apium.parked.celery") == 1 })
	python := a.startWorker(t)
	eventually(t, patience, "the task is done", func() bool { return server.journalLen(t, "done") == 1 })
	if late := time.Since(due); late < 0 || late > allow(time.Second, due) {
		t.Errorf("done %v after it was due", late)
	}
	if python.log.contains("received") {
		t.Error("the Python worker received it")
	}
}

// TestUnparkForPython: what was parked here is given to a Python worker, which starts it on
// time without a sweep, but not while a worker of ours would park it again.
func TestUnparkForPython(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	ours := startWorker(t, a, "--park-after", "1")
	due := sendLater(t, a, "handed back", 30)
	eventually(t, patience, "the message is parked", func() bool { return server.int(t, "EXISTS", "apium.parked.celery") == 1 })
	unpark := func() (string, error) {
		out, err := exec.Command(apiumBinary, "-b", a.broker, "unpark").CombinedOutput()
		return string(out), err
	}
	if out, err := unpark(); err == nil || !strings.Contains(out, "stop the worker first") {
		t.Errorf("beside a worker: %s, %v", out, err)
	}
	ours.signal(t, syscall.SIGTERM)
	if code := ours.exitCode(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if out, err := unpark(); err != nil || out != "1 parked message back in 1 queue.\n" {
		t.Errorf("%s, %v", out, err)
	}
	python := a.startWorker(t)
	python.waitLog(t, "received")
	if time.Now().After(due) {
		t.Error("the machine is too slow: it was received when it was due")
	}
	eventually(t, patience, "the task is done", func() bool { return server.journalLen(t, "done") == 1 })
	if late := time.Since(due); late < 0 || late > 3*time.Second {
		t.Errorf("done %v after it was due", late)
	}
}
