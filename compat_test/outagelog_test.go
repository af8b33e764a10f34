package compat_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// outageLines are the parts of the log that operators look for when Redis is away. What
// follows the words is the reason, in which libraries differ.
var outageLines = regexp.MustCompile(`(?m)^\[[^]]*: (?:WARNING|ERROR|CRITICAL)/MainProcess\] (?:` +
	`consumer: Connection to broker lost\. Trying to re-establish the connection\.\.\. \(` +
	`|consumer: Cannot connect to redis://` +
	`|Unrecoverable error: OperationalError\(` +
	`|Retrying to (?:re-)?establish a connection to the message broker after a connection loss has been disabled \(app\.conf\.\w+=False\)\. Shutting down\.\.\.)` +
	`|^Trying again in .* seconds\.\.\. \(.*\)$`)

// TestOutageLog: a Python worker and ours lose Redis for good, or never find it, and say the
// same about it at the same times, and end with the same status.
func TestOutageLog(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings map[string]any
		absent   bool // Redis is not there from the start
	}{
		"limit":             {map[string]any{"broker_connection_max_retries": 2}, false},
		"no retry":          {map[string]any{"broker_connection_retry": false}, false},
		"no retry at start": {map[string]any{"broker_connection_retry_on_startup": false}, true},
		"limit at start":    {map[string]any{"broker_connection_max_retries": 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			python, ours := outageLog(t, test.settings, test.absent, true), outageLog(t, test.settings, test.absent, false)
			if !slices.Equal(python, ours) || len(python) == 0 {
				t.Errorf("Celery says\n%s\nours says\n%s", strings.Join(python, "\n"), strings.Join(ours, "\n"))
			}
		})
	}
}

// outageLog is what a worker says until it ends, without times and reasons.
func outageLog(t *testing.T, settings map[string]any, absent, python bool) (said []string) {
	t.Helper()
	url := fmt.Sprintf("redis://127.0.0.1:%d/0", freePort(t))
	var server *redisServer
	if !absent {
		server = startRedis(t)
		url = server.url(0)
	}
	a := app{broker: url, settings: settings}
	var w *process
	if python {
		flags := []string{"-m", "celery", "-A", "tapp", "worker", "-P", "solo", "-l", "info", "--without-gossip", "--without-mingle"}
		w = start(t, "python worker", appDir, a.env(t), a.python(), flags...)
	} else {
		w = launchWorker(t, a, "--config", settingsFile(t, settings))
	}
	if !absent {
		w.waitLog(t, " ready.")
		server.kill()
	}
	if code := w.exitCode(t); code == 0 {
		t.Errorf("%s: exit code 0", w.name)
	}
	when := regexp.MustCompile(`^\[[^]:]*:[^]:]*:[^]:]*: `)
	for _, line := range outageLines.FindAllString(w.log.String(), -1) {
		said = append(said, when.ReplaceAllString(line, "["))
	}
	return said
}
