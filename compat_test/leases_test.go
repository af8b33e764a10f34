package compat_test

import (
	"fmt"
	"syscall"
	"testing"
)

// TestFrozenWorker freezes a worker that holds a backlog until a peer has run that. When it
// goes on, it runs nothing of it: only what it was running, acknowledged late, runs twice.
func TestFrozenWorker(t *testing.T) {
	t.Parallel()
	// Those that two slots ran, and those that had just ended and were not acknowledged yet.
	for task, mayRepeat := range map[string]int{"tapp.work": 0, "tapp.work_late": 4} {
		t.Run(task, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{broker: server.url(0), journal: server.url(1)}
			const n = 1000
			load(t, a, task, n, 0.02, nil)
			frozen := startWorker(t, a, "-n", "frozen@host")
			peer := startWorker(t, a, "-n", "peer@host")
			eventually(t, patience, "both work", func() bool { return server.journalLen(t, "done") > 100 })
			frozen.signal(t, syscall.SIGSTOP)
			peer.waitLog(t, "A worker is gone")
			eventually(t, patience, "the peer has run everything", func() bool { return server.idle(t, "celery") })
			frozen.signal(t, syscall.SIGCONT)
			frozen.waitLog(t, "The sign of life had lapsed")
			peer.signal(t, syscall.SIGTERM)
			peer.exitCode(t)
			a.run(t, nil, "import tapp; [tapp.nap.delay(0) for _ in range(4)]") // they come behind what it held
			eventually(t, patience, "it works again", func() bool {
				return frozen.log.count("Task tapp.nap[") == 2*4 && server.idle(t, "celery") // received and succeeded
			})
			j := readJournal(t, server)
			t.Logf("%d tasks, %d started twice", n, doubled(j.started))
			if lost := j.lost(n); len(lost) > 0 {
				t.Errorf("lost: %v", lost)
			}
			if twice := doubled(j.started); twice > mayRepeat {
				t.Errorf("%d tasks were started twice, want %d at most", twice, mayRepeat)
			}
		})
	}
}

// TestEarlyAcknowledgementUnderKills kills workers at full speed. What is acknowledged early
// never runs twice; at most what was running, or about to, is cut off.
func TestEarlyAcknowledgementUnderKills(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1)}
	const n, kills, ahead = 20_000, 10, 64
	load(t, a, "tapp.work", n, 0, nil)
	worker := startWorker(t, a, "-n", "w0@host")
	killed := 0
	for ; killed < kills && !server.idle(t, "celery"); killed++ {
		before := server.journalLen(t, "started")
		eventually(t, patience, "work goes on", func() bool {
			return server.journalLen(t, "started") > before+500 || server.idle(t, "celery")
		})
		worker.kill()
		worker = startWorker(t, a, "-n", fmt.Sprintf("w%d@host", killed+1))
	}
	eventually(t, patience, "all messages are settled", func() bool { return server.idle(t, "celery") })
	j := readJournal(t, server)
	t.Logf("%d tasks, %d kills: %d never started, %d started twice", n, killed, n-len(j.started), doubled(j.started))
	if twice := doubled(j.started); twice > 0 {
		t.Errorf("%d tasks were started twice", twice)
	}
	if cut := n - len(j.started); cut > killed*(2+ahead) {
		t.Errorf("%d tasks were acknowledged and never started", cut)
	}
}
