package cli

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	sigterm = syscall.SIGTERM
	sigint  = syscall.SIGINT
	sigquit = syscall.SIGQUIT
	sighup  = syscall.SIGHUP
)

// The table is what Celery 5.7 does with its prefork pool; compat_test holds both against
// each other.
func TestStopper(t *testing.T) {
	t.Parallel()
	tests := []struct {
		signals string // T, I, Q, H
		remap   bool
		calls   string // in order
		status  int
		output  string // its last line
	}{
		{"T", false, "warm", 0, "worker: Warm shutdown (MainProcess)"},
		{"TTT", false, "warm", 0, "worker: Warm shutdown (MainProcess)"},
		{"I", false, "warm", 1, "worker: Warm shutdown (MainProcess)"},
		{"IT", false, "warm", 1, "worker: Warm shutdown (MainProcess)"},
		{"TI", false, "warm", 0, "worker: Warm shutdown (MainProcess)"},
		{"II", false, "warm cold", 1, "worker: Cold shutdown (MainProcess)"},
		{"TII", false, "warm cold", 0, "worker: Cold shutdown (MainProcess)"},
		{"Q", false, "warm cold", 0, "worker: Cold shutdown (MainProcess)"},
		{"TQ", false, "warm cold", 0, "worker: Cold shutdown (MainProcess)"},
		{"IQ", false, "warm cold", 1, "worker: Cold shutdown (MainProcess)"},
		{"QT", false, "warm cold", 0, "worker: Cold shutdown (MainProcess)"},
		{"QQ", false, "warm cold soft", 0, "Waiting gracefully for cold shutdown to complete..."},
		{"QI", false, "warm cold soft", 0, "Waiting gracefully for cold shutdown to complete..."},
		{"III", false, "warm cold soft", 1, "Waiting gracefully for cold shutdown to complete..."},
		{"QQQQ", false, "warm cold soft", 0, "Waiting gracefully for cold shutdown to complete..."},
		{"T", true, "warm cold", 0, "worker: Cold shutdown (MainProcess)"},
		{"TT", true, "warm cold soft", 0, "Waiting gracefully for cold shutdown to complete..."},
		{"I", true, "warm", 1, "worker: Warm shutdown (MainProcess)"},
		{"H", false, "warm restart", 0, "Restarting celery worker (" + strings.Join(os.Args, " ") + ")"},
		{"HT", false, "warm", 0, "worker: Warm shutdown (MainProcess)"}, // who asks for an end gets one
		{"TH", false, "warm", 0, "worker: Warm shutdown (MainProcess)"},
	}
	for _, test := range tests {
		t.Run(test.signals, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			s := newStopper(t.Context())
			defer s.release()
			s.remapTerm, s.restarts = test.remap, true
			s.speak(&out, nil)
			var calls []string
			s.stopWarm, s.stopCold, s.stopSoft = func(error) { noting(&calls, "warm")() }, noting(&calls, "cold"), noting(&calls, "soft")
			for i, letter := range test.signals {
				sig := map[rune]os.Signal{'T': sigterm, 'I': sigint, 'Q': sigquit, 'H': sighup}[letter]
				s.handle(sig, logTime.Add(time.Duration(i)*time.Second))
			}
			if s.restart {
				calls = append(calls, "restart")
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

// noting returns what notes the first time it is called.
func noting(calls *[]string, name string) func() {
	return func() {
		if !strings.Contains(strings.Join(*calls, " "), name) {
			*calls = append(*calls, name)
		}
	}
}

func TestFirstCtrlCPrintsTheHint(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := newStopper(t.Context())
	defer s.release()
	s.speak(&out, nil)
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
	s := newStopper(t.Context())
	defer s.release()
	s.handle(syscall.SIGINT, logTime)
	s.handle(syscall.SIGINT, logTime.Add(time.Millisecond))
	if s.cold.Err() != nil {
		t.Error("one SIGINT, delivered twice, was a cold shutdown")
	}
	s.handle(syscall.SIGQUIT, logTime.Add(2*time.Millisecond))
	if s.cold.Err() == nil {
		t.Error("another signal right after the first was lost")
	}
}
