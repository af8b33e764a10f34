package compat_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/apium/apium/operate/control"
)

// finished waits until workers have done all that they were given, but for a number of
// messages that wait for a far ETA. A message that is not done is in the queue, in unacked,
// or was acknowledged early, and then its worker knows it: when Redis and the workers say
// the same thrice, none was on its way from the one to the other. No time is part of the
// condition, so a worker may be as slow as it likes.
//
// A Python worker is asked by remote control. It answers between two steps of its main
// process, which has heard of a task's end when all that its child wrote is written. Ours
// is asked for its metrics: start it with servesMetrics.
func finished(t *testing.T, server *redisServer, waiting int, workers ...*process) {
	t.Helper()
	var asked []doing
	for _, w := range workers {
		if metricsAddress.MatchString(w.log.String()) {
			asked = append(asked, oursBusy(t, w))
		} else {
			asked = append(asked, pythonBusy(t, server, w))
		}
	}
	last, same := "", 0
	eventually(t, patience, "the workers have finished", func() bool {
		figures := fmt.Sprint(server.int(t, "DBSIZE"))
		for _, ask := range asked {
			busy, runs := ask()
			if busy != 0 {
				same = 0
				return false
			}
			figures += fmt.Sprint(" ", runs)
		}
		if held := server.messages(t, "celery"); held != waiting || figures != last {
			last, same = figures, 0
			return false
		}
		same++
		return same == 3
	})
}

// doing asks a worker how much it has in hand, or whether anything, and for a figure that grows with all it
// has begun.
type doing func() (busy, runs int)

// servesMetrics lets finished ask a worker of ours.
var servesMetrics = []string{"--metrics-addr", "127.0.0.1:0"}

func oursBusy(t *testing.T, w *process) doing {
	url := metricsURL(t, w)
	return func() (busy, runs int) {
		t.Helper()
		page := scrape(t, url)
		return int(sum(page, `celery_worker_tasks_active.*|apium_settling.*|apium_waiting_messages.*(reserved|limited|kept).*`)),
			int(sum(page, `celery_task_received_total.*`))
	}
}

var nodeReady = regexp.MustCompile(`(\S+@\S+) ready\.`)

func pythonBusy(t *testing.T, server *redisServer, w *process) doing {
	t.Helper()
	node := nodeReady.FindStringSubmatch(w.log.String())
	if node == nil {
		t.Fatalf("%s does not say its name", w.name)
	}
	publisher := goPublisher(t, server)
	client := control.Client{Broadcaster: publisher, Asker: publisher}
	ask := func(command string) json.RawMessage { // nil: it does not answer now
		t.Helper()
		replies, err := client.Ask(t.Context(), control.Question{
			Command: command, Destination: []string{node[1]}, Timeout: 5 * time.Second, // then it is asked again
		}, nil)
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if len(replies) == 0 {
			return nil
		}
		return replies[0].Value
	}
	return func() (busy, runs int) {
		t.Helper()
		if string(ask("active")) != "[]" {
			return 1, 0
		}
		answer := ask("stats")
		if answer == nil {
			return 1, 0
		}
		var stats struct{ Total map[string]int }
		if err := json.Unmarshal(answer, &stats); err != nil {
			t.Fatalf("stats: %v: %s", err, answer)
		}
		for _, n := range stats.Total {
			runs += n
		}
		return 0, runs
	}
}
