package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/sample"
)

// A program that knows only sample tasks takes nothing from a broker unless told so.
func TestSamplesAloneAreRefused(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	samples := tasks.NewRegistry()
	sample.Register(samples)
	const id = "9f0c0f3a-0000-4000-8000-000000000001"
	if status, _, stderr := call(t, "send", "-b", server.URL(), "--task-id", id, "shop.mail"); status != exitOK {
		t.Fatal(stderr)
	}
	work := func(reg *tasks.Registry, args ...string) (status int, log string) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var out buffer
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, reg, append([]string{"apium", "worker", "-linfo", "-q"}, args...), &out, &out)
		}()
		for {
			select {
			case status := <-ended:
				return status, out.String()
			case <-time.After(time.Millisecond):
			}
			if strings.Contains(out.String(), " ready.") {
				stop()
				return <-ended, out.String()
			}
		}
	}
	status, log := work(samples, "-b", server.URL())
	if status != exitUsage || !strings.Contains(log, "demo.add, demo.echo") || !strings.Contains(log, "--demo-tasks") ||
		!strings.Contains(log, "tasks of your own") {
		t.Errorf("status %d:\n%s", status, log)
	}
	if _, stdout, _ := call(t, "list", "queues", "-b", server.URL(), "--json"); !strings.Contains(stdout, `"ready": 1`) {
		t.Errorf("the waiting task was touched: %s", stdout)
	}
	for name, args := range map[string][]string{"told so": {"-b", server.URL(), "--demo-tasks"}, "embedded": {"--embedded"}} {
		if status, log := work(samples, args...); status != exitOK {
			t.Errorf("%s: status %d:\n%s", name, status, log)
		}
	}
	status, log = work(tasks.NewRegistry(), "-b", server.URL())
	if status != exitOK || !strings.Contains(log, "No tasks are registered") {
		t.Errorf("no tasks: status %d:\n%s", status, log)
	}
}
