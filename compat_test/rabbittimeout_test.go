package compat_test

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apium/apium/internal/rabbittest"
)

// TestConsumerTimeoutOnRabbitMQ runs a task that is acknowledged late for longer than the broker's consumer_timeout, with a
// second worker beside: Celery's run it again, and one of them ends; with ours it runs once. So it is with a task that is due later
// than that, which Celery's worker holds until then. A machine that stands still for half of the timeout is given a longer one.
func TestConsumerTimeoutOnRabbitMQ(t *testing.T) {
	t.Parallel()
	rabbit := rabbittest.Start(t)
	for timeout := 6; !runsBeyondTimeout(t, rabbit, timeout); timeout *= 3 {
		if timeout > 50 {
			t.Fatal("the broker has closed a channel of ours each time")
		}
	}
}

// runsBeyondTimeout reports false if the broker has closed a channel of ours.
func runsBeyondTimeout(t *testing.T, rabbit *rabbittest.Server, timeout int) bool {
	t.Helper()
	rabbit.ConsumerTimeout(t, time.Duration(timeout)*time.Second)
	begun := func(celery bool, eta map[string]any, nodes ...string) (*redisServer, []*process) {
		server := startRedis(t)
		server.vhost = rabbit.VHost(t)
		a := server.app()
		var workers []*process
		for _, node := range nodes {
			if celery {
				workers = append(workers, a.startWorker(t, "-c", "1", "-n", node))
			} else {
				workers = append(workers, startWorker(t, a, "-c", "1", "-n", node, "--broker-transport-options", `{"consumer_timeout": `+strconv.Itoa(timeout)+`}`))
			}
		}
		seconds := 2.5 * float64(timeout)
		if eta != nil {
			seconds = 0
		}
		load(t, a, "tapp.work_late", 1, seconds, eta)
		return server, workers
	}
	later := map[string]any{"countdown": 2*timeout + 2}
	_, theirLater := begun(true, later, "later@host")
	serverLater, ourLater := begun(false, later, "later@host")
	python, theirs := begun(true, nil, "one@host", "two@host")
	server, ours := begun(false, nil, "one@host", "two@host")
	eventually(t, patience, "Celery has started the task again", func() bool { return python.journalLen(t, "started") > 1 })
	eventually(t, patience, "a worker of Celery's has ended", func() bool { return theirs[0].ended() || theirs[1].ended() })
	if code := theirLater[0].exitCode(t); code == 0 || !theirLater[0].log.contains("PRECONDITION_FAILED") {
		t.Errorf("Celery's worker that held a task for later ended with %d", code)
	}
	eventually(t, patience, "our later task is done", func() bool { return serverLater.journalLen(t, "done") > 0 && serverLater.messages(t, "celery") == 0 })
	eventually(t, patience, "our task is done", func() bool { return server.journalLen(t, "done") > 0 && server.messages(t, "celery") == 0 })
	closed := false
	for _, w := range append(ours, ourLater...) {
		w.signal(t, syscall.SIGTERM)
		if code := w.exitCode(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		closed = closed || strings.Contains(w.log.String(), "PRECONDITION_FAILED")
	}
	if n, later := server.journalLen(t, "started"), serverLater.journalLen(t, "started"); (n != 1 || later != 1) && !closed {
		t.Errorf("our workers have started the task %d times, and the later one %d times", n, later)
	}
	return !closed
}
