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
	f := finishing{server: server, waiting: waiting, workers: workers, patience: patience, stall: patience}
	if err := f.wait(t); err != nil {
		t.Fatal(err)
	}
}

// finishing waits for workers to finish, and says what keeps them from it.
type finishing struct {
	server   *redisServer
	waiting  int
	workers  []*process
	patience time.Duration
	stall    time.Duration // nothing gets on for so long
}

func (f finishing) wait(t *testing.T) error {
	t.Helper()
	var asked []doing
	for _, w := range f.workers {
		if metricsAddress.MatchString(w.log.String()) {
			asked = append(asked, oursBusy(t, w))
		} else {
			asked = append(asked, pythonBusy(t, f.server, w))
		}
	}
	var beats pulse
	deadline := time.Now().Add(f.patience)
	for last, same := "", 0; ; time.Sleep(20 * time.Millisecond) {
		figures, busy := f.look(t, asked)
		held := f.server.messages(t, "celery")
		if same++; busy != "" || held != f.waiting || figures != last {
			same = 0
		}
		if same == 3 {
			return nil
		}
		last = figures
		state := fmt.Sprintf("%s%d messages, want %d; figures %s", busy, held, f.waiting, figures)
		switch still := beats.still(fmt.Sprint(figures, busy, held)); {
		case still > f.stall:
			return fmt.Errorf("nothing gets on for %v: %s", f.stall, state)
		case time.Now().After(deadline):
			return fmt.Errorf("after %s the workers have not finished: %s", f.patience, state)
		}
	}
}

// look returns figures that grow with all that is done, and which worker is busy.
func (f finishing) look(t *testing.T, asked []doing) (figures, busy string) {
	t.Helper()
	figures = fmt.Sprint(f.server.int(t, "DBSIZE"))
	for i, ask := range asked {
		n, runs := ask()
		figures += fmt.Sprint(" ", runs)
		if n != 0 {
			busy += f.workers[i].name + " is busy; "
		}
	}
	return figures, busy
}

// pulse tells how long figures have been the same.
type pulse struct {
	last  string
	since time.Time
}

func (p *pulse) still(figures string) time.Duration {
	if figures != p.last || p.since.IsZero() {
		p.last, p.since = figures, time.Now()
	}
	return time.Since(p.since)
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
	publisher := server.asker(t)
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
