package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/apium/apium/internal/redistest"
)

// beatFile writes settings with a schedule.
func beatFile(t *testing.T, url, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "celery.json")
	text := `{"broker_url": "` + url + `", "beat_schedule": {
		"often": {"task": "proj.often", "schedule": 0.1, "args": [1]},
		"nightly": {"task": "proj.nightly", "schedule": "0 4 * * *", "options": {"queue": "slow"}},
		"never": {"task": "proj.never", "schedule": "0 4 31 2 *"}}` + more + `}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBeatMistakes: what is wrong with the command line is said as Celery does.
func TestBeatMistakes(t *testing.T) {
	t.Parallel()
	file := beatFile(t, "redis://127.0.0.1:1", `, "timezone": "Europe/Berlin"`)
	for args, message := range map[string]string{
		"-S proj.sched:Own":    "scheduler 'proj.sched:Own': it is a class in Python, and cannot be used here",
		"lits":                 "no such command 'lits'. Did you mean 'list'?",
		"list often":           "list shows all entries, and takes no 'often'",
		"run":                  "run needs the name of one entry",
		"run oftn":             "There is no entry 'oftn'. Did you mean 'often'?",
		"--detach":             "Option '--detach': run the beat under systemd, a container or nohup",
		"--uid 3":              "Option '--uid': let the service manager choose the user",
		"-l LOUD":              "Invalid value for '-l' / '--loglevel': 'LOUD' is not one of",
		"--max-interval often": "'often' is not a number of seconds",
		"--max-interval -3":    "'-3' is not a number of seconds from 0",
		"--lead-for 0.5":       "Invalid value for '--lead-for': 500ms is less than a second",

		"--executable /bin/python -S proj.sched:Own": "it is a class in Python", // so that the option is known
	} {
		status, _, stderr := call(t, append([]string{"beat", "--config", file}, strings.Fields(args)...)...)
		if status != exitUsage || !strings.Contains(strings.ToLower(stderr), strings.ToLower(message)) {
			t.Errorf("%q: status %d, stderr:\n%s", args, status, stderr)
		}
	}
	for _, args := range []string{"list", "run often"} {
		status, _, stderr := call(t, append([]string{"beat", "--config", file}, strings.Fields(args)...)...)
		if status != exitUnavailable || !strings.Contains(stderr, "cannot connect to redis://127.0.0.1:1") {
			t.Errorf("%q without a broker: status %d, %q", args, status, stderr)
		}
	}
}

// TestBeatInterrupted: who stops a beat while it starts has made no mistake.
func TestBeatInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{}, {"list"}} {
		var stderr bytes.Buffer
		argv := append([]string{"apium", "beat", "--config", beatFile(t, "redis://127.0.0.1:1", "")}, args...)
		if status := run(ctx, testRegistry(), argv, io.Discard, &stderr); status != exitFailure || stderr.String() != "Error: interrupted\n" {
			t.Errorf("%q: status %d, %q", args, status, stderr.String())
		}
	}
}

// TestBeatListAndRun: entries are listed for people and as JSON, and run now.
func TestBeatListAndRun(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	file := beatFile(t, s.URL(0), `, "timezone": "Asia/Kathmandu"`)
	status, stdout, stderr := call(t, "beat", "list", "--config", file)
	for _, text := range []string{"NAME ", " 04:00:00 ", // on the clock of timezone
		"<freq: now>", "<crontab: 0 4 * * * (m/h/dM/MY/d)>", "never: schedule: ", "beat_schedule"} {
		if status != exitOK || !strings.Contains(stdout, text) {
			t.Errorf("status %d, %s, stdout:\n%s", status, stderr, stdout)
		}
	}
	status, stdout, _ = call(t, "beat", "list", "--json", "--config", file)
	if lines := strings.Split(strings.TrimSpace(stdout), "\n"); status != exitOK || len(lines) != 3 || !strings.HasPrefix(lines[0], "{") {
		t.Errorf("status %d, stdout:\n%s", status, stdout)
	}
	if nightly := regexp.MustCompile(`"last_run_at": null, "next_run_at": "\d{4}-\d\d-\d\dT22:15:00Z"`); !nightly.MatchString(stdout) { // in UTC
		t.Errorf("dates are no strings that jq reads:\n%s", stdout)
	}
	if status, stdout, stderr = call(t, "beat", "run", "nightly", "--config", file); status != exitOK || len(strings.TrimSpace(stdout)) != 36 {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	if n := s.Do(t, "LLEN", "slow"); n != int64(1) {
		t.Errorf("%v messages were sent", n)
	}
}
