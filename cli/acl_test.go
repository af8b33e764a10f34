package cli

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// documentedRights returns what docs/operating.md says a Redis user needs.
func documentedRights(t *testing.T) (rights []any) {
	t.Helper()
	text, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n    ACL SETUSER ")
	words, _, found := strings.Cut(rest, "\n\n")
	if !found {
		t.Fatal("docs/operating.md has no ACL SETUSER")
	}
	for _, word := range strings.Fields(words) {
		rights = append(rights, word)
	}
	return rights
}

// The rights in the documentation are enough for all that a worker does.
func TestDocumentedRights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Do(t, "ACL", append([]any{"SETUSER"}, documentedRights(t)...)...)
	server.Do(t, "ACL", "LOG", "RESET")
	url := "redis://apium:secret@" + server.Addr() + "/0"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reg := testRegistry()
	reg.Register("proj.sum", func(numbers []float64) (sum float64) {
		for _, n := range numbers {
			sum += n
		}
		return sum
	}, tasks.Params("numbers"), tasks.AcksLate(true))
	var log buffer
	ended := make(chan int, 1)
	worked, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		ended <- run(worked, reg, []string{"apium", "worker", "-linfo", "-E", "-n", "w@h", "-b", url, "--result-backend", url, "--park-after", "0.1"}, &log, &log)
	}()
	log.waitFor(t, "ready.")

	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = url, url
	shop, err := app.Open(ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	add := canvas.Sig("proj.add", 1, 2)
	result, err := shop.Send(ctx, canvas.Chord([]canvas.Signature{add, add.Set(canvas.Priority(9))}, canvas.Sig("proj.sum")))
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	if err := result.Get(ctx, &sum); err != nil || sum != 6 {
		t.Errorf("chord: %v, %v", sum, err)
	}
	operate := func(line string) {
		t.Helper()
		args := append(strings.Fields(line), "-b", url, "--result-backend", url)
		if status, stdout, stderr := call(t, args...); status != exitOK {
			t.Errorf("%s: status %d\n%s%s", line, status, stdout, stderr)
		}
	}
	var seen buffer
	heard := make(chan int, 1)
	go func() { heard <- run(worked, reg, []string{"apium", "events", "--json", "-b", url}, &seen, &seen) }()
	seen.waitFor(t, `"worker-heartbeat"`)
	for _, line := range []string{
		"send proj.add 1 2 -w --countdown 1", "status -d w@h", "inspect stats -d w@h", "control rate_limit proj.add 5/s -d w@h",
		"list queues", "list bindings --all", "dlq list", "purge -f", "send --queue celery proj.echo x",
	} {
		operate(line)
	}
	stop()
	if status := <-heard; status != exitOK {
		t.Errorf("events ended with %d:\n%s", status, seen.String())
	}
	if status := <-ended; status != exitOK {
		t.Errorf("the worker ended with %d:\n%s", status, log.String())
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "ACL") || strings.Contains(line, "NOPERM") {
			t.Error(line)
		}
	}
	if denied, _ := server.Do(t, "ACL", "LOG").([]any); len(denied) > 0 {
		t.Errorf("%d commands were denied: %q", len(denied), denied)
	}
}
