package cli

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/operate/control"
)

func TestPolicyOfAQueueThatIsNotConsumed(t *testing.T) {
	t.Parallel()
	s := readSettings(t, "worker", "-Q", "mail,web", "--unknown-task", "fail,mial=leave,web=park")
	want := "--unknown-task mial=… has no effect: this worker consumes mail, web. Did you mean 'mail'?"
	if !slices.Equal(s.warnings, []string{want}) {
		t.Errorf("warnings %q, want %q", s.warnings, want)
	}
}

// Tasks that are forwarded to where nobody listens wait for ever: the operator is told.
func TestForwardingToAQueueNobodyConsumes(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var other, out buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, testRegistry(), []string{"apium", "worker", "-linfo", "-b", server.URL(), "-n", "other@h", "-Q", "python"}, &other, &other)
	}()
	other.waitFor(t, "ready.")

	s := readSettings(t, "worker", "-b", server.URL(), "-n", "w@h", "-Q", "celery,mail,web",
		"--unknown-task", "forward:python,mail=forward:pyton,web=leave")
	s.consumersAgain, s.quiet, s.log = 0, true, slog.New(newLogHandler(&out, "text", slog.LevelInfo, false))
	served := make(chan error, 1)
	p := &program{name: "apium", reg: testRegistry(), stdout: &out, stderr: &out}
	stopper := newStopper(ctx)
	defer stopper.release()
	go func() { served <- p.serve(stopper, s) }()
	out.waitFor(t, "forwarded to queue pyton, and no other worker")
	if status, _, stderr := call(t, "send", "-b", server.URL(), "proj.python"); status != exitOK {
		t.Fatal(stderr)
	}
	out.waitFor(t, "INFO/MainProcess] Forwarding task proj.python[")
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	<-ended
	if strings.Contains(out.String(), "forwarded to queue python,") {
		t.Errorf("queue python is consumed:\n%s", out.String())
	}
}

func TestUnconsumed(t *testing.T) {
	t.Parallel()
	replies := []control.Reply{
		{Node: "w@h", Value: []byte(`[{"name": "own"}]`)},
		{Node: "odd@h", Value: []byte(`{"error": "no"}`)},
		{Node: "py@h", Value: []byte(`[{"name": "celery", "exchange": {}}, {"name": "python"}]`)},
	}
	replies = append(replies, control.Reply{Node: "w@h", Value: []byte(`[{"name": "twin"}]`)}) // of the same node name
	s := readSettings(t, "worker", "-n", "w@h", "-Q", "own")
	if left := s.unconsumed([]string{"own", "python", "twin", "typo"}, replies); !slices.Equal(left, []string{"own", "typo"}) {
		t.Errorf("left are %q", left)
	}
}
