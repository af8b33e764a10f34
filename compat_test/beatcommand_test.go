package compat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// beatCommand is a command line of a beat, how Celery's ends and what it says ("": anything), and the same of ours ("": as Celery's).
type beatCommand struct {
	options          string
	status, says     string // starts, or the exit status
	ourStatus, weSay string
}

// beatCommands are told of the process ids of one that lives and one that does not by files.
var beatCommands = []beatCommand{
	{"-S celery.beat:PersistentScheduler", "starts", "scheduler -> celery.beat.PersistentScheduler", "", ""},
	{"-S celery.beat.Scheduler", "starts", "scheduler -> celery.beat.Scheduler", "", "scheduler -> celery.beat.PersistentScheduler"}, // which is no other here
	{"-S own:Mine", "starts", "scheduler -> own.Mine", "2", "Scheduler 'own:Mine': it is a class in Python, and cannot be used here"},
	{"-S nowhere:Class", "1", "No module named 'nowhere'", "2", "Scheduler 'nowhere:Class': it is a class in Python, and cannot be used here"},
	{"-S djnago", "1", "No module named 'djnago'", "2", "Scheduler 'djnago': there is none of that name. Did you mean 'django'?"},
	{"extra", "2", "Unable to parse extra configuration from command line", "", "No such command 'extra'. What may follow is list, run NAME, or settings"},
	{"beat.nosuch=7", "2", "Reason: 'nosuch'", "", "beat.nosuch: unknown setting"},
	{"beat.max_loop_interval=x", "2", "could not convert string to float: 'x'", "", "beat.max_loop_interval: must be a number of seconds"},
	{"beat.max_loop_interval=7", "starts", "maxinterval -> 7.00 seconds (7.0s)", "", "maxinterval -> 7.00 seconds (7s)"},
	{"--nosuch", "2", "Error: No such option '--nosuch'.", "", ""},
	{"--umask 077", "starts", "", "2", "Option '--umask': let the service manager set the umask"},
	{"--uid nosuchuser", "1", "User does not exist: nosuchuser", "2", "Option '--uid': let the service manager choose the user"},
	{"-l loud", "2", "Invalid value for '-l' / '--loglevel': 'LOUD' is not one of 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'FATAL'", "", ""},
	{"-l", "2", "Error: Option '-l' requires an argument.", "", ""},
	{"--max-interval x", "2", "Invalid value for '--max-interval': 'x' is not a ", "", ""},
	{"--max-interval -3", "starts", "", "2", "Invalid value for '--max-interval': '-3' is not a number of seconds from 0"},
	{"--pidfile new.pid", "starts", "", "", ""},
	{"--pidfile living.pid", "73", "ERROR: Pidfile (living.pid) already exists.\nSeems we're already running? (pid: ", "", ""},
	{"--pidfile dead.pid", "starts", "Stale pidfile exists - Removing it.", "", ""},
	{"--pidfile garbage.pid", "starts", "Broken pidfile found - Removing it.", "", ""},
	{"--pidfile nowhere/beat.pid", "1", "[Errno 2] No such file or directory: ", "", "Error: pid file: open nowhere/beat.pid: no such file or directory"},
	{"--pidfile .", "1", "[Errno 21] Is a directory", "", "Error: pid file: read .: is a directory"},
	{"-s nowhere/schedule", "", "", "starts", ""}, // what Celery's makes of it depends on its Python's dbm; ours needs no such file
	{"-f nowhere/log", "1", "[Errno 2] No such file or directory: ", "", "Error: log file: open "},
}

// TestBeatsCommandLine: of right and wrong options, apium beat makes what celery beat makes, or says clearly what it does not take
// and what to do.
func TestBeatsCommandLine(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	settings := settingsFile(t, map[string]any{"broker_url": server.url(0)})
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	place := func() (dir string) {
		dir = t.TempDir()
		for name, text := range map[string]string{
			"own.py":     "from celery.beat import Scheduler\nclass Mine(Scheduler): pass\n",
			"living.pid": fmt.Sprintln(os.Getpid()), "dead.pid": fmt.Sprintln(dead.Process.Pid), "garbage.pid": "x\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	var given [][2]any
	for _, c := range beatCommands {
		given = append(given, [2]any{place(), strings.Fields(c.options)})
	}
	said := beatsOfCelery(t, app{broker: server.url(0)}, given)
	for i, c := range beatCommands {
		if status := fmt.Sprint(said[i][0]); c.status != "" && status != c.status || !strings.Contains(said[i][1].(string), c.says) {
			t.Errorf("celery beat %s: %s, and not %s with %q:\n%s", c.options, status, c.status, c.says, said[i][1])
		}
		if c.ourStatus == "" {
			c.ourStatus = c.status
			if c.weSay == "" {
				c.weSay = c.says
			}
		}
		arguments := append([]string{"beat", "--config", settings, "-l", "info"}, strings.Fields(c.options)...)
		p := start(t, "apium beat", place(), nil, apiumBinary, arguments...)
		eventually(t, patience, c.options+" starts or ends", func() bool { return p.ended() || p.log.contains("beat: Starting...") })
		status := "starts"
		if !p.log.contains("beat: Starting...") {
			status = fmt.Sprint(p.exitCode(t))
		}
		p.kill()
		if status != c.ourStatus || !p.log.contains(c.weSay) {
			t.Errorf("apium beat %s: %s, and not %s with %q:\n%s", c.options, status, c.ourStatus, c.weSay, p.log)
		}
	}
}

// beatsOfCelery starts celery beat in directories, with options.
func beatsOfCelery(t *testing.T, a app, given [][2]any) (said [][2]any) {
	t.Helper()
	input, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(a.python(), "beatcommands.py")
	cmd.Dir, cmd.Stdin = appDir, bytes.NewReader(input)
	cmd.Env = append(os.Environ(), a.env(t)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &said)
	}
	if err != nil || len(said) != len(given) {
		t.Fatalf("beatcommands.py: %v, %s\n%s", err, out, tail(stderr.String(), 3000))
	}
	return said
}
