package compat_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ending is what a sequence of signals leads to.
type ending struct {
	Status         int
	State          string // of the task that was running
	Message, Other string // where it is, and where one is that has not started
	Done           bool   // it has finished
}

// TestSignals sends sequences of signals to Celery's worker with a prefork pool and to ours,
// each with a running task and one that waits, and compares what becomes of them. All end.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		signals string // T, I, Q
		soft    float64
		remap   bool
	}{
		{"T", 0, false},
		{"TTT", 0, false},
		{"TQ", 0, false},
		{"TI", 0, false},
		{"TII", 0, false},
		{"I", 0, false},
		{"II", 0, false},
		{"IT", 0, false},
		{"IQ", 0, false},
		{"Q", 0, false},
		{"QQ", softTime, false},
		{"QT", softTime, false},
		{"QQQ", softTime, false},
		{"QI", softTime, false},
		{"III", softTime, false},
		{"TQQ", softTime, false},
		{"T", 0, true},
		{"TT", softTime, true},
		{"I", 0, true},
	} {
		for _, task := range []string{"tapp.work", "tapp.work_late"} {
			t.Run(fmt.Sprintf("%s %g %v %s", test.signals, test.soft, test.remap, task), func(t *testing.T) {
				t.Parallel()
				var ends [2]ending
				for i := range ends {
					ended := false
					// Celery's pool does not always end, now and then, on a busy machine.
					for try := 0; !ended && try < 3; try++ {
						ends[i], ended = endOf(t, i == 0, task, test.signals, test.soft, test.remap)
						if !ended && i == 1 {
							t.Fatal("our worker does not end")
						}
					}
				}
				if ends[0] != ends[1] {
					t.Errorf("Celery: %+v\nApium:  %+v", ends[0], ends[1])
				}
			})
		}
	}
}

const (
	// betweenSignals is long enough for Celery to have seen the first one, which it looks for
	// every second: until then, the last SIGINT or SIGTERM decides about the exit status.
	betweenSignals = 1300 * time.Millisecond
	// softTime is longer than three signals take, and shorter than the task.
	softTime = 4
)

func endOf(t *testing.T, celery bool, task, signals string, soft float64, remap bool) (e ending, ended bool) {
	t.Helper()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), settings: map[string]any{"worker_soft_shutdown_timeout": soft}}
	if remap {
		a.variables = []string{"REMAP_SIGTERM=SIGQUIT"}
	}
	var ids []string
	a.run(t, &ids, `
import json, sys, tapp
task = tapp.app.tasks[sys.argv[1]]
print(json.dumps([task.delay("a", 7).id, task.delay("b", 7).id]))`, task)
	var w *process
	if celery {
		w = a.startWorker(t, "-c", "1", "--prefetch-multiplier", "4")
	} else {
		w = startWorker(t, a, "-c", "1", "--prefetch-multiplier", "4", fmt.Sprintf("worker_soft_shutdown_timeout=%g", soft))
	}
	eventually(t, patience, "the task runs", func() bool { return server.journalLen(t, "started") == 1 })
	for i, letter := range signals {
		if i > 0 {
			time.Sleep(betweenSignals) // what comes next depends on the time, in Celery, too
		}
		select {
		case <-w.done: // there is nobody left
		default:
			w.signal(t, map[rune]os.Signal{'T': syscall.SIGTERM, 'I': syscall.SIGINT, 'Q': syscall.SIGQUIT}[letter])
		}
	}
	select {
	case <-w.done:
	case <-time.After(patience):
		w.kill()
		return e, false
	}
	e = ending{Status: w.exitCode(t), Done: server.journalLen(t, "done") == 1}
	e.State, e.Message, e.Other = server.taskState(t, ids[0]), server.place(t, ids[0]), server.place(t, ids[1])
	return e, true
}

// taskState is the state that the backend holds.
func (s *redisServer) taskState(t *testing.T, id string) string {
	t.Helper()
	document, _ := s.do(t, "GET", "celery-task-meta-"+id).([]byte)
	var meta struct{ Status string }
	_ = json.Unmarshal(document, &meta) // there may be none
	return meta.Status
}

// place tells where the message of a task is.
func (s *redisServer) place(t *testing.T, id string) string {
	t.Helper()
	if strings.Contains(strings.Join(s.strings(t, "LRANGE", "celery", 0, -1), "\n"), id) {
		return "queue"
	}
	if strings.Contains(strings.Join(s.strings(t, "HVALS", "unacked"), "\n"), id) {
		return "unacked"
	}
	return "gone"
}
