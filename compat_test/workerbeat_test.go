package compat_test

import (
	"fmt"
	"testing"

	"github.com/apium/apium/internal/sqltest"
)

// workersBeat starts two workers with a Python app that send its periodic tasks as well, and run none of them.
func workersBeat(t *testing.T, dir string, a app, module, scheduler string) (both []*process) {
	t.Helper()
	for _, name := range []string{"w1@h", "w2@h"} {
		w := start(t, "apium worker", dir, a.env(t), apiumBinary, "-A", module, "--python", a.python(), "worker", "-B", "--scheduler", scheduler,
			"-Q", "elsewhere", "-c", "1", "-n", name, "-l", "info", "--without-gossip", "--without-mingle")
		w.waitLog(t, " ready.")
		both = append(both, w)
	}
	return both
}

// TestWorkersBeatForDjango: workers with -B send what is in Django's tables, each run once, and write it there.
func TestWorkersBeatForDjango(t *testing.T) {
	t.Parallel()
	s := newPeriodicSite(t, sqltest.SQLite)
	second := []any{1, "seconds"}
	s.do(step{"create", []fields{
		{"name": "plain", "task": "t.plain", "interval": second}, {"name": "once", "task": "t.once", "interval": second, "one_off": true},
	}})
	both := workersBeat(t, djangoBeatDir, s.app, "proj", "django")
	s.waitSent(3, "plain")
	s.waitDisabled("once")
	for _, w := range both { // the second goes on, if it stood by
		s.waitSent(len(s.sent()["plain"])+2, "plain")
		s.stop(w)
	}
	seen := map[string]bool{}
	for _, m := range s.sent()["plain"] {
		if seen[m.id] {
			t.Errorf("%s was sent twice", m.id)
		}
		seen[m.id] = true
	}
	if n := len(s.sent()["once"]); n != 1 {
		t.Errorf("the one-off was sent %d times", n)
	}
	if row := s.rows()["plain"]; row.TotalRunCount != len(seen) {
		t.Errorf("it was sent %d times, and its row says %d", len(seen), row.TotalRunCount)
	}
	if all := fmt.Sprint(both[0].log, both[1].log); !both[0].log.contains("Sending due task plain") && !both[1].log.contains("Sending due task plain") {
		t.Errorf("the workers do not say so: %s", tail(all, 3000))
	}
}

// TestWorkersBeatForRedBeat: and what RedBeat's keys have, under its lock.
func TestWorkersBeatForRedBeat(t *testing.T) {
	t.Parallel()
	r := newRedBeats(t)
	for _, w := range workersBeat(t, appDir, r.app, "tapp", "redbeat") {
		r.more()
		r.stop(w)
	}
	r.wantOnce()
}
