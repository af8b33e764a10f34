package compat_test

import (
	"testing"
)

// TestRunsOverReconnectOnRabbitMQ closes the connections while a task runs that is acknowledged late. Its message comes again:
// Celery's worker runs it a second time, ours knows that it runs.
func TestRunsOverReconnectOnRabbitMQ(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"classic", "quorum"} {
		for name, test := range map[string]struct {
			start func(t *testing.T, a app) *process
			runs  int
		}{
			"Celery":   {func(t *testing.T, a app) *process { return a.startWorker(t) }, 2},
			"Go":       {func(t *testing.T, a app) *process { return startWorker(t, a, "task_default_queue_type="+kind) }, 1},
			"children": {func(t *testing.T, a app) *process { return a.startChildren(t) }, 1},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				server := startRabbit(t)
				a := server.app()
				a.settings = map[string]any{"task_default_queue_type": kind}
				a.run(t, nil, `import tapp; tapp.wait_late.delay("over")`)
				w := test.start(t, a)
				eventually(t, patience, "the task runs", func() bool { return server.journalLen(t, "started") == 1 })
				server.vhost.CloseConnections(t)
				if test.runs > 1 {
					eventually(t, patience, "it runs again", func() bool { return server.journalLen(t, "started") == test.runs })
				} else {
					w.waitLog(t, "was delivered again after its connection was lost: it runs here already")
				}
				for range test.runs {
					if _, err := server.tryJournal("RPUSH", "go", "go"); err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, patience, "it is done and acknowledged", func() bool {
					return server.journalLen(t, "done") == test.runs && server.messages(t, "celery") == 0
				})
				if n := server.journalLen(t, "started"); n != test.runs {
					t.Errorf("it has started %d times, want %d", n, test.runs)
				}
			})
		}
	}
}
