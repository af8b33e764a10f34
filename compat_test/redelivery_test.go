package compat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// load publishes n calls of a task, named 0 to n-1, and returns at once.
func load(t *testing.T, a app, task string, n int, seconds float64, options map[string]any) {
	t.Helper()
	if options == nil {
		options = map[string]any{}
	}
	encoded, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	a.run(t, nil, `
import json, sys, tapp
task, n, seconds, options = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])
with tapp.app.producer_pool.acquire() as producer:
    for i in range(n):
        tapp.app.tasks[task].apply_async([str(i), seconds], producer=producer, **options)
`, task, strconv.Itoa(n), fmt.Sprint(seconds), string(encoded))
}

// journal is what the tasks wrote down: how often each key was started and done.
type journal struct{ started, done map[string]int }

func readJournal(t *testing.T, server *redisServer) journal {
	t.Helper()
	read := func(list string) map[string]int {
		counts := map[string]int{}
		for _, key := range server.journalKeys(t, list) {
			counts[key]++
		}
		return counts
	}
	return journal{read("started"), read("done")}
}

// lost are the keys below n that were never done.
func (j journal) lost(n int) []string {
	var keys []string
	for i := range n {
		if key := strconv.Itoa(i); j.done[key] == 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// doubled counts the runs beyond the first.
func doubled(counts map[string]int) int {
	extra := 0
	for _, n := range counts {
		extra += n - 1
	}
	return extra
}

// TestDeadPeer checks how soon a killed worker's tasks run elsewhere.
func TestDeadPeer(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	dead := startWorker(t, a, "-n", "dead@host")
	load(t, a, "tapp.work_late", 2, 3600, nil)
	eventually(t, patience, "both tasks run", func() bool { return server.journalLen(t, "started") == 2 })
	startWorker(t, a, "-n", "alive@host")
	killed := time.Now()
	dead.kill()
	eventually(t, patience, "both tasks run again", func() bool { return server.journalLen(t, "started") == 4 })
	if took := time.Since(killed); took > allow(15*time.Second, killed) {
		t.Errorf("handed back after %s", took)
	}
}

// TestLongTask runs a task for longer than the visibility timeout beside a Python
// worker that restores whatever looks abandoned.
func TestLongTask(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), settings: eagerRestore(9)}
	startWorker(t, a, "--visibility-timeout", "9", "--prefetch-multiplier", "1")
	load(t, a, "tapp.work_late", 1, 25, nil)
	eventually(t, patience, "our worker runs the task", func() bool { return server.journalLen(t, "started") == 1 })
	neighbour := a.startWorker(t)
	eventually(t, patience, "the task is done", func() bool { return server.idle(t, "celery") })
	j := readJournal(t, server)
	if j.started["0"] != 1 || j.done["0"] != 1 {
		t.Errorf("started %d times, done %d times", j.started["0"], j.done["0"])
	}
	if neighbour.log.contains("received") {
		t.Error("the Python worker received the task as well")
	}
}

// eagerRestore makes a Python worker look for abandoned messages every second.
func eagerRestore(visibilityTimeout int) map[string]any {
	return map[string]any{"broker_transport_options": map[string]any{
		"visibility_timeout": visibilityTimeout, "unacked_restore_interval": 1, "unacked_restore_throttle": 1,
	}}
}

// TestPythonClaimsExpire restores what a killed Python worker held.
func TestPythonClaimsExpire(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	python := a.startWorker(t)
	load(t, a, "tapp.work_late", 6, 3600, nil)
	eventually(t, patience, "the Python worker holds all tasks", func() bool { return server.int(t, "HLEN", "unacked") == 6 })
	python.kill()
	// An hour passes: the entries of the dead worker are as old as that.
	for _, tag := range server.strings(t, "ZRANGE", "unacked_index", 0, -1) {
		server.do(t, "ZADD", "unacked_index", time.Now().Add(-2*time.Hour).Unix(), tag)
	}
	server.do(t, "SET", "unacked_mutex", "somebody", "PX", 1500)
	startWorker(t, a, "-c", "10", "--broker-transport-options", `{"unacked_restore_interval": 1, "unacked_restore_throttle": 1}`)
	eventually(t, patience, "all six run here", func() bool {
		return server.journalLen(t, "started") >= 2+6 && server.int(t, "HLEN", "unacked") == 6
	})
}

// TestWarmShutdown stops a worker with the most in its hands: what has run and what
// is queued again are together what was sent.
func TestWarmShutdown(t *testing.T) {
	t.Parallel()
	for _, task := range []string{"tapp.work", "tapp.work_late"} {
		t.Run(task, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{broker: server.url(0), journal: server.url(1)}
			const n = 500
			w := startWorker(t, a, "-c", "3", "--prefetch-multiplier", "5")
			load(t, a, task, n, 0.1, nil)
			load(t, a, "tapp.work", 5, 0, map[string]any{"countdown": 3600})
			eventually(t, patience, "work goes on", func() bool {
				return server.journalLen(t, "done") > 20 && server.int(t, "HLEN", "unacked") >= 5
			})
			w.signal(t, syscall.SIGTERM)
			if code := w.exitCode(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
			j := readJournal(t, server)
			done, queued := len(j.done), server.int(t, "LLEN", "celery")
			if done+queued != n+5 || doubled(j.started) > 0 || len(j.started) != done {
				t.Errorf("%d done + %d queued of %d sent; %d started, %d of them twice", done, queued, n+5, len(j.started), doubled(j.started))
			}
			if held := server.int(t, "HLEN", "unacked") + server.int(t, "ZCARD", "unacked_index"); held != 0 {
				t.Errorf("%d entries left in unacked", held)
			}
			if left := server.strings(t, "KEYS", "apium.*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			checkOrder(t, server, n)
		})
	}
}

// checkOrder checks that what was given back is served again in the order it was
// sent, with the marks of a redelivery.
func checkOrder(t *testing.T, server *redisServer, n int) {
	t.Helper()
	entries := server.strings(t, "LRANGE", "celery", 0, -1)
	slices.Reverse(entries)
	last := -1
	for i, raw := range entries {
		var m struct {
			Headers struct{ ArgsRepr, ETA string }
		}
		if err := json.Unmarshal([]byte(raw), &m); err != nil {
			t.Fatalf("entry %d is no JSON: %v", i, err)
		}
		if m.Headers.ETA != "" {
			continue
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(m.Headers.ArgsRepr, "['"), "'")
		k, err := strconv.Atoi(text)
		if err != nil || k >= n {
			t.Fatalf("argsrepr %q", m.Headers.ArgsRepr)
		}
		if k < last {
			t.Errorf("task %d is queued behind task %d", k, last)
		}
		last = k
	}
}

// TestColdShutdown gives back late-ack tasks that run.
func TestColdShutdown(t *testing.T) {
	t.Parallel()
	for name, signals := range map[string][]syscall.Signal{
		"SIGQUIT": {syscall.SIGQUIT}, "SIGINT twice": {syscall.SIGINT, syscall.SIGINT}, "SIGTERM, then SIGQUIT": {syscall.SIGTERM, syscall.SIGQUIT},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{broker: server.url(0), journal: server.url(1)}
			w := startWorker(t, a)
			load(t, a, "tapp.work_late", 4, 3600, nil)
			eventually(t, patience, "two tasks run", func() bool { return server.journalLen(t, "started") == 2 })
			for i, sig := range signals {
				w.signal(t, sig)
				if i < len(signals)-1 {
					w.waitLog(t, "Warm shutdown")
					time.Sleep(200 * time.Millisecond) // the same signal at once is taken for its echo
				}
			}
			w.exitCode(t)
			if queued := server.int(t, "LLEN", "celery"); queued != 4 {
				t.Errorf("%d of 4 tasks are queued again", queued)
			}
			if held := server.int(t, "HLEN", "unacked") + server.int(t, "ZCARD", "unacked_index"); held != 0 {
				t.Errorf("%d entries left in unacked", held)
			}
		})
	}
}
