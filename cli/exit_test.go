package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/apium/apium/internal/embedded"
)

// childEnv makes the test binary behave as a worker program.
const childEnv = "APIUM_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if slices.Equal(os.Args[1:], []string{"panic on screen"}) {
			panicOnScreen()
		}
		Main(testRegistry())
	}
	goleak.VerifyTestMain(m)
}

// startChild runs a real process with these arguments.
func startChild(t *testing.T, args ...string) (*exec.Cmd, *buffer) {
	t.Helper()
	return startChildWith(t, nil, args...)
}

func startChildWith(t *testing.T, variables []string, args ...string) (*exec.Cmd, *buffer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe, args...)
	child.Env = append(append(os.Environ(), childEnv+"=1"), variables...)
	out := &buffer{}
	child.Stdout, child.Stderr = out, out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill() })
	return child, out
}

func exitCode(t *testing.T, child *exec.Cmd) int {
	t.Helper()
	err := child.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return child.ProcessState.ExitCode()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	tests := []struct {
		name    string
		signals []syscall.Signal
		task    bool // one is running that takes very long
		code    int
		says    string
	}{
		{"term", []syscall.Signal{sigterm}, false, 0, "worker: Warm shutdown (MainProcess)"},
		{"int", []syscall.Signal{sigint}, false, 1, "worker: Hitting Ctrl+C again will initiate cold shutdown"},
		{"quit", []syscall.Signal{sigquit}, true, 0, "worker: Cold shutdown (MainProcess)"},
		{"int int", []syscall.Signal{sigint, sigint}, true, 1, "worker: Cold shutdown (MainProcess)"},
		{"term quit", []syscall.Signal{sigterm, sigquit}, true, 0, "worker: Cold shutdown (MainProcess)"},
		{"term term quit", []syscall.Signal{sigterm, sigterm, sigquit}, true, 0, "worker: Cold shutdown (MainProcess)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			queue := strings.ReplaceAll(test.name, " ", "-")
			code, said := endBySignals(t, server.URL(), queue, test.signals, test.task)
			for range 4 { // a cold shutdown ends in three seconds, whatever it has done by then: this machine may have no time
				if !strings.Contains(said, "Hard shutdown") {
					break
				}
				code, said = endBySignals(t, server.URL(), queue, test.signals, test.task)
			}
			if code != test.code {
				t.Errorf("exit status %d, want %d:\n%s", code, test.code, said)
			}
			if !strings.Contains(said, test.says) {
				t.Errorf("no %q in:\n%s", test.says, said)
			}
		})
	}
}

// endBySignals sends signals to a worker, which runs a task that takes very long if so, and returns its exit code and what it has said.
func endBySignals(t *testing.T, url, queue string, signals []syscall.Signal, task bool) (code int, said string) {
	t.Helper()
	child, out := startChild(t, "worker", "-linfo", "-b", url, "-Q", queue)
	out.waitFor(t, "ready.")
	if task {
		if status, _, stderr := call(t, "send", "-b", url, "-Q", queue, "proj.stubborn"); status != exitOK {
			t.Fatal(stderr)
		}
		out.waitFor(t, "proj.stubborn runs") // not only received: that would go back
	}
	for i, sig := range signals {
		if i > 0 {
			out.waitFor(t, "shutdown (MainProcess)")
		}
		if sig == signals[max(i-1, 0)] && i > 0 {
			time.Sleep(2 * echo) // or it is taken for the first
		}
		if err := child.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	return exitCode(t, child), out.String()
}

func TestPidfileOfARunningWorker(t *testing.T) {
	t.Parallel()
	pidfile := filepath.Join(t.TempDir(), "%n.pid")
	child, out := startChild(t, "worker", "-linfo", "--embedded", "--pidfile", pidfile)
	out.waitFor(t, "ready.")
	second, said := startChild(t, "worker", "--embedded", "--pidfile", pidfile)
	if code := exitCode(t, second); code != exitRunning || !strings.Contains(said.String(), "Seems we're already running? (pid: ") {
		t.Errorf("the second ended with %d:\n%s", code, said.String())
	}
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, child); code != exitOK {
		t.Errorf("the first ended with %d:\n%s", code, out.String())
	}
	if _, err := os.Stat(strings.Replace(pidfile, "%n", "celery", 1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pid file is left: %v", err)
	}
}
