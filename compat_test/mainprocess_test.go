package compat_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// What an app hangs in Celery's MainProcess is called in the same order with the same
// arguments, and its commands of remote control answer the same.
func TestMainProcess(t *testing.T) {
	t.Parallel()
	for _, version := range slices.Sorted(maps.Keys(peers)) {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			celery := noteAll(t, peers[version], func(a app) *process { return a.startBeating(t) })
			apium := noteAll(t, peers[version], func(a app) *process { return a.startChildren(t, "-n", "w@here") })
			if celery.answers != apium.answers {
				t.Errorf("answers:\n%s\nCelery's worker:\n%s", apium.answers, celery.answers)
			}
			if c, a := strings.Join(celery.inOrder, "\n"), strings.Join(apium.inOrder, "\n"); c != a {
				t.Errorf("journal:\n%s\n\nCelery's worker:\n%s", a, c)
			}
			if c, a := toJSON(t, celery.anywhere), toJSON(t, apium.anywhere); c != a {
				t.Errorf("besides: %s\nCelery's worker: %s", a, c)
			}
		})
	}
}

// startBeating starts a Python worker that sends heartbeats, as startWorker's does not.
func (a app) startBeating(t *testing.T) *process {
	t.Helper()
	args := []string{"-m", "celery", "-A", a.module, "worker"}
	if a.venv == celery44 {
		args = []string{"-m", "celery", "worker", "-A", a.module}
	}
	p := start(t, "python worker", appDir, a.env(t), a.python(), append(args, "-c", "2", "-l", "info", "-n", "w@here")...)
	p.waitLog(t, " ready.")
	return p
}

// noted is what the app mainprocess notes.
type noted struct {
	answers  string
	inOrder  []string
	anywhere []string // what comes again and again, at any time
}

func noteAll(t *testing.T, venv string, start func(app) *process) noted {
	t.Helper()
	a := app{venv: venv, broker: startRedis(t).url(0), module: "mainprocess", journal: filepath.Join(t.TempDir(), "journal")}
	w := start(a)
	eventually(t, patience, "a heartbeat was sent", func() bool { return strings.Contains(readFile(t, a.journal), "heartbeat_sent") })
	var answers json.RawMessage
	a.run(t, &answers, "mainprocess.py")
	w.signal(t, syscall.SIGTERM)
	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	n := noted{answers: string(answers)}
	for line := range strings.Lines(readFile(t, a.journal)) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, `"heartbeat_sent"`) || strings.Contains(line, `"worker_before_create_process"`) || strings.Contains(line, `"step beats"`) {
			n.anywhere = append(n.anywhere, line)
		} else {
			n.inOrder = append(n.inOrder, line)
		}
	}
	slices.Sort(n.anywhere)
	n.anywhere = slices.Compact(n.anywhere)
	return n
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}
