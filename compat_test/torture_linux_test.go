package compat_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var tortureTime = flag.Duration("torture", 15*time.Second, "how long TestChildrenTorture kills processes")

const (
	torturedChildren = 3 // of each worker, and as many Go handlers
	// acceptedAhead is what a worker may have acknowledged for Go handlers beyond those that run: see
	// worker/earlyack.go.
	acceptedAhead = 64
)

// victims are workers whose processes are killed.
type victims struct {
	t       *testing.T
	app     app
	workers []*process
	kills   map[string]int // by kind
	starts  int
}

func (v *victims) start(i int) {
	v.starts++
	w := start(v.t, "apium worker", appDir, v.app.env(v.t), workerBinary, "-A", "tortured", "--python", v.app.python(),
		"worker", "-c", strconv.Itoa(torturedChildren), "-n", fmt.Sprintf("w%d@host", i), "-l", "warning", "--without-gossip", "--without-mingle")
	v.workers[i] = w
}

// revive starts a worker again that has ended: while it loads the app, it ends with its fork server.
func (v *victims) revive(i int) {
	select {
	case <-v.workers[i].done:
		v.start(i)
	default:
	}
}

// kill kills a process of some kind.
func (v *victims) kill() {
	i := rand.IntN(len(v.workers))
	v.revive(i)
	w := v.workers[i]
	kind, pids := "child", []int(nil)
	switch p := rand.Float64(); {
	case p < 0.08:
		w.kill()
		w.exitCode(v.t)
		v.kills["worker"]++
		v.start(i)
		return
	case p < 0.25:
		kind, pids = "fork server", childrenOf(v.t, w.cmd.Process.Pid)
	default:
		for _, server := range childrenOf(v.t, w.cmd.Process.Pid) {
			pids = append(pids, childrenOf(v.t, server)...)
		}
	}
	if len(pids) > 0 && syscall.Kill(pids[rand.IntN(len(pids))], syscall.SIGKILL) == nil {
		v.kills[kind]++
	}
}

// childrenOf returns the processes of Python that a process has started.
func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	for _, line := range processes(t) {
		if line.parent == pid && line.name != "sleep" {
			pids = append(pids, line.pid)
		}
	}
	return pids
}

type processLine struct {
	pid, parent int
	name        string
}

func processes(t *testing.T) (lines []processLine) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		var line processLine
		var state string
		if _, err := fmt.Sscan(string(text[:open]), &line.pid); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(string(text[end+1:]), &state, &line.parent); err != nil {
			t.Fatal(err)
		}
		if line.name = string(text[open+1 : end]); state != "Z" {
			lines = append(lines, line)
		}
	}
	return lines
}

// belonging are the processes that have a text in their environment, but the tasks' own.
func belonging(t *testing.T, text string) (pids []int) {
	t.Helper()
	for _, line := range processes(t) {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", line.pid))
		if err == nil && bytes.Contains(environ, []byte(text)) && line.name != "sleep" {
			pids = append(pids, line.pid)
		}
	}
	return pids
}

// Workers, fork servers and children are killed at random, while tasks of all kinds run in Python
// and in Go. No message is lost, nothing starts twice but what was running and is acknowledged
// late, and no process is left.
func TestChildrenTorture(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	v := &victims{t: t, app: a, workers: make([]*process, 2), kills: map[string]int{}}
	for i := range v.workers {
		v.start(i)
	}
	for _, w := range v.workers {
		w.waitLog(t, "[queues]") // in its banner
	}
	sent := make(chan int)
	go func() {
		var n int
		a.run(t, &n, "tortured.py", fmt.Sprint(tortureTime.Seconds()))
		sent <- n
	}()
	n := 0
	for n == 0 {
		select {
		case n = <-sent:
		case <-time.After(time.Duration(50+rand.IntN(250)) * time.Millisecond):
			v.kill()
		}
	}
	for i := range v.workers {
		v.revive(i)
	}
	eventually(t, 3*patience, "all is done", func() bool { return server.idle(t, "celery") })
	// What is acknowledged early is gone from the broker before it has ended.
	for _, w := range v.workers {
		w.signal(t, syscall.SIGTERM)
	}
	for _, w := range v.workers {
		w.exitCode(t)
	}
	eventually(t, patience, "no process is left", func() bool { return len(belonging(t, "BROKER="+a.broker)) == 0 })
	v.judge(n, readJournal(t, server))
}

// judge looks what has become of n tasks of each kind.
func (v *victims) judge(n int, j journal) {
	v.t.Helper()
	running := v.kills["worker"]*torturedChildren + v.kills["fork server"]*torturedChildren + v.kills["child"]
	for _, kind := range []string{"early", "late", "go-early", "go-late"} {
		cut, bound := 0, running
		if strings.HasPrefix(kind, "go-") {
			bound = v.kills["worker"] * torturedChildren
		}
		again := 0
		for i := range n {
			key := kind + "-" + strconv.Itoa(i)
			if j.done[key] == 0 {
				cut++
			}
			again += max(0, j.started[key]-1)
		}
		v.t.Logf("%s: %d tasks, %d cut off, %d started again", kind, n, cut, again)
		if late := strings.HasSuffix(kind, "late"); late && (cut > 0 || again > bound) || !late && again > 0 {
			v.t.Errorf("%s: %d were lost, and %d started again; %d may have been running", kind, cut, again, bound)
		}
		if kind == "go-early" {
			bound += v.kills["worker"] * acceptedAhead
		}
		if cut > bound {
			v.t.Errorf("%s: %d were cut off; %d may have been running", kind, cut, bound)
		}
	}
	v.t.Logf("killed: %v, in %v; workers were started %d times", v.kills, *tortureTime, v.starts)
}
