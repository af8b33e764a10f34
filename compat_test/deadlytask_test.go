package compat_test

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestTaskThatKillsItsProcess has a Python task with reject_on_worker_lost kill the process that it runs in. Celery's
// worker runs it for ever; ours until it has killed too many, and then it fails and is a dead letter. What else there is
// to do is done.
func TestTaskThatKillsItsProcess(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		start    func(*testing.T, ...string) *redisServer
		settings map[string]any
	}{
		"Redis":   {startRedis, nil},
		"classic": {startRabbit, nil},
		"quorum":  {startRabbit, map[string]any{"task_default_queue_type": "quorum"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 2
			begin := func(command func(a app, globals, options []string) []string, options ...string) (*redisServer, app, *process) {
				server := test.start(t)
				a := server.app()
				a.backend, a.module, a.settings = server.url(2), "deadly", test.settings
				a.run(t, nil, `
import deadly
deadly.die.apply_async(["deadly"], task_id="deadly")
deadly.work.delay("other")
`)
				words := command(a, nil, append([]string{"-c", "1", "-l", "info"}, options...))
				return server, a, start(t, words[0], appDir, a.env(t), words[0], words[1:]...)
			}
			server, _, w := begin(app.celeryCommand)
			eventually(t, patience, "Celery has run it more often than we may", func() bool { return server.journalLen(t, "started") > most+2 })
			w.kill()

			server, a, w := begin(app.apiumCommand, "--max-redeliveries", strconv.Itoa(most))
			var got []string
			a.run(t, &got, `
import json, deadly
try: deadly.app.AsyncResult("deadly").get(timeout=120)
except Exception as exc: print(json.dumps([type(exc).__name__, str(exc)]))
`)
			if want := []string{"WorkerLostError", "Worker exited prematurely: given back 3 times because a worker died"}; !slices.Equal(got, want) {
				t.Errorf("its caller gets %q, want %q", got, want)
			}
			if n := server.journalLen(t, "started"); n != most+1 {
				t.Errorf("it ran %d times, want %d", n, most+1)
			}
			letters := deadLetters(t, a)
			if len(letters) != 1 || letters[0].Task != "deadly.die" || !strings.HasPrefix(letters[0].Reason, "redelivered: ") {
				t.Errorf("dead letters: %+v", letters)
			}
			eventually(t, patience, "the other task is done", func() bool { return slices.Contains(server.journalKeys(t, "done"), "other") })
			w.signal(t, syscall.SIGTERM)
		})
	}
}
