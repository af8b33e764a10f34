package cli

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStopper(t *testing.T) {
	t.Parallel()
	const (
		term = syscall.SIGTERM
		intr = syscall.SIGINT
		quit = syscall.SIGQUIT
	)
	tests := []struct {
		name    string
		remap   bool
		signals []os.Signal
		calls   string // in order; "hard" is watch's answer
		status  int
		output  string // its last line
	}{
		{"term", false, []os.Signal{term}, "warm", 0, "worker: Warm shutdown (MainProcess)"},
		{"int", false, []os.Signal{intr}, "warm", 1, "worker: Warm shutdown (MainProcess)"},
		{"quit", false, []os.Signal{quit}, "warm cold", 0, "worker: Cold shutdown (MainProcess)"},
		{"term term", false, []os.Signal{term, term}, "warm warm cold", 0, "worker: Cold shutdown (MainProcess)"},
		{"int int", false, []os.Signal{intr, intr}, "warm warm cold", 1, "worker: Cold shutdown (MainProcess)"},
		{"term quit", false, []os.Signal{term, quit}, "warm warm cold", 0, "worker: Cold shutdown (MainProcess)"},
		{"three", false, []os.Signal{intr, intr, intr}, "warm warm cold hard", 1, "worker: Hard shutdown (MainProcess)"},
		{"quit quit", false, []os.Signal{quit, quit}, "warm cold hard", 1, "worker: Hard shutdown (MainProcess)"},
		{"remapped term", true, []os.Signal{term}, "warm cold", 0, "worker: Cold shutdown (MainProcess)"},
		{"remapped int", true, []os.Signal{intr}, "warm", 1, "worker: Warm shutdown (MainProcess)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			var calls []string
			s := stopper{
				out: &out, remapTerm: test.remap,
				warm: func() { calls = append(calls, "warm") },
				cold: func() { calls = append(calls, "cold") },
			}
			for i, sig := range test.signals {
				if s.handle(sig, logTime.Add(time.Duration(i)*time.Second)) {
					calls = append(calls, "hard")
				}
			}
			if diff := cmp.Diff(test.calls, strings.Join(calls, " ")); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if s.status != test.status {
				t.Errorf("status %d, want %d", s.status, test.status)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if last := lines[len(lines)-1]; last != test.output {
				t.Errorf("last line %q, want %q", last, test.output)
			}
		})
	}
}

func TestFirstCtrlCPrintsTheHint(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := stopper{out: &out, warm: func() {}, cold: func() {}}
	s.handle(syscall.SIGINT, logTime)
	want := "\nworker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!\n" +
		"\nworker: Warm shutdown (MainProcess)\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// timeout(1) signals its child and then the group the child is in.
func TestSignalAndItsEchoAreOne(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	cold := false
	s := stopper{out: &out, warm: func() {}, cold: func() { cold = true }}
	s.handle(syscall.SIGTERM, logTime)
	s.handle(syscall.SIGTERM, logTime.Add(time.Millisecond))
	if cold {
		t.Error("one SIGTERM, delivered twice, was a cold shutdown")
	}
	s.handle(syscall.SIGQUIT, logTime.Add(2*time.Millisecond))
	if !cold {
		t.Error("another signal right after the first was lost")
	}
}
