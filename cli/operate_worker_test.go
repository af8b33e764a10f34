package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/apium/apium/internal/build"
	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/tasks"
)

// operated is a worker in this process, with a Redis.
type operated struct {
	url  string
	reg  *tasks.Registry
	stop func() (status int)
}

func startOperated(t *testing.T) *operated {
	t.Helper()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	o := &operated{url: server.URL(), reg: testRegistry()}
	o.reg.RegisterCommand("greet", func(name string, times int) string { return strings.Repeat("hello "+name+". ", times) }, tasks.Params("name, times=1"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var out, log buffer
	go func() {
		ended <- run(ctx, o.reg, []string{"apium", "worker", "-linfo", "-n", "w@h", "-c2", "-b", o.url, "--result-backend", o.url, "-E"}, &out, &log)
	}()
	log.waitFor(t, "ready.")
	o.stop = func() int { cancel(); return <-ended }
	return o
}

func (o *operated) call(t *testing.T, line string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs buffer
	args := append([]string{"apium", "-b", o.url, "--result-backend", o.url}, strings.Fields(line)...)
	status = run(t.Context(), o.reg, args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestOperateWorker(t *testing.T) {
	t.Parallel()
	o := startOperated(t)
	events := make(chan int, 1)
	ctx, leave := context.WithCancel(t.Context())
	var seen buffer
	go func() {
		events <- run(ctx, o.reg, []string{"apium", "-b", o.url, "events", "--json"}, &seen, &seen)
	}()
	seen.waitFor(t, `"type": "worker-heartbeat"`)
	if status, id, stderr := o.call(t, "send proj.add 1 2 --task-id t1"); status != exitOK {
		t.Fatal(id, stderr)
	}
	seen.waitFor(t, `"type": "task-succeeded"`)
	leave()
	if status := <-events; status != exitOK {
		t.Errorf("events ended with %d", status)
	}
	for line := range strings.Lines(seen.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("events --json printed %q", line)
		}
	}
	for _, id := range []string{"p1", "p2"} {
		o.call(t, "send proj.add 1 2 --queue side --priority 9 --task-id "+id)
	}
	tests := []struct {
		args   string
		status int
		stdout string
	}{
		{"status -d w@h", 0, "->  w@h: OK\n\n1 node online.\n"},
		{"status -d w@h --json", 0, `{"w@h": {"ok": "pong"}}` + "\n"},
		{"-q inspect ping -d w@h", 0, " w@h: OK\n        pong\n"},
		{"inspect ping -d w@h", 0, "->  w@h: OK\n        pong\n\n1 node online.\n"},
		{"inspect greet ann 2 -d w@h", 0, "->  w@h: OK\n    hello ann. hello ann. \n\n1 node online.\n"},
		{"control greet ann -d w@h", 0, "->  w@h: OK\n    hello ann. \n"},
		{"control greet ann -d w@h -j", 0, `[{"w@h": "hello ann. "}]` + "\n"},
		{"control rate_limit proj.add 5/m -d w@h", 0, "->  w@h: OK\n        new rate limit set successfully\n"},
		{"control rate_limit proj.none 5/m -d w@h", 1, "->  w@h: ERROR\n        unknown task\n"},
		{"list queues", 0, "QUEUE   READY  P0  P3  P6  P9  UNACKED  PARKED  DEAD\n" +
			"celery      0   0   0   0   0        0       0     0\n" +
			"side        2   0   0   0   2        0       0     0\n"},
		{"list bindings --json", 0, `{"queue": "celery", "exchange": "celery", "routing_key": "celery"}` + "\n"},
		{"purge -f -Q side,none -X none", 0, "Purged 2 messages from 1 known task queue.\n"},
		{"purge -f -Q side,none --json", 0, `{"none": 0, "side": 0}` + "\n"},
		{"purge -f", 0, "No messages purged from 1 queue.\n"},
		{"purge -f -X celery", 0, ""},
		{"result t1", 0, "3.0\n"},
		{"result t1 --traceback", 0, "\n"},
		{"result none --timeout 0.01", 1, ""},
		{"report --json", 0, fmt.Sprintf(`{"platform": %q, "settings": {"broker_url": %q, "result_backend": %q}, "transport": "redis", "version": "(devel)"}`+"\n", build.Platform(), o.url, o.url)},
		{"control shutdown -d w@h -t 0.05", exitUnavailable, ""},
	}
	for _, test := range tests {
		if status, stdout, stderr := o.call(t, test.args); status != test.status || stdout != test.stdout {
			t.Errorf("%s: status %d, stderr %q, stdout:\n%swant %d:\n%s", test.args, status, stderr, stdout, test.status, test.stdout)
		}
	}
	if status := o.stop(); status != exitOK {
		t.Errorf("the worker ended with %d", status)
	}
}
