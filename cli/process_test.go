package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/internal/redistest"
)

func startEmbedded(t *testing.T) string {
	t.Helper()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server.URL()
}

func mustCall(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	status, stdout, stderr := call(t, args...)
	if status != exitOK {
		t.Fatalf("%v: status %d: %s", args, status, stderr)
	}
	return stdout
}

func sendSignal(t *testing.T, child *exec.Cmd, sig os.Signal) {
	t.Helper()
	if err := child.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// waitTaken waits until no signal is pending for a process any more, where the kernel tells that: on a busy
// machine one may be on its way for longer than a worker takes to start.
func waitTaken(t *testing.T, child *exec.Cmd) {
	t.Helper()
	waitUntil(t, "the signal to arrive", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child.Process.Pid))
		return err != nil || bytes.Contains(status, []byte("ShdPnd:\t0000000000000000\n"))
	})
}

func wantExit(t *testing.T, child *exec.Cmd, within time.Duration) {
	t.Helper()
	start := time.Now()
	if code := exitCode(t, child); code != exitOK {
		t.Errorf("exit status %d, want 0", code)
	}
	if took := time.Since(start); took > within {
		t.Errorf("the worker ended after %v, want %v", took, within)
	}
}

func waitUntil(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// SIGHUP lets the running task finish and starts the same program with the same arguments.
func TestHangupStartsAgain(t *testing.T) {
	t.Parallel()
	url := startEmbedded(t)
	child, out := startChild(t, "worker", "-linfo", "-b", url, "--result-backend", url)
	out.waitFor(t, "ready.")
	id := strings.TrimSpace(mustCall(t, "send", "-b", url, "--result-backend", url, "proj.nap", "0.5"))
	out.waitFor(t, "proj.nap runs")
	sendSignal(t, child, sighup)
	waitUntil(t, "the worker is ready again", func() bool { return strings.Count(out.String(), "ready.") == 2 })
	if got := mustCall(t, "result", "-b", url, "--result-backend", url, id); strings.TrimSpace(got) != "0.5" {
		t.Errorf("the running task's result: %q", got)
	}
	sendSignal(t, child, sigterm)
	wantExit(t, child, 10*time.Second)
}

func TestUSR1LogsAllStacks(t *testing.T) {
	t.Parallel()
	child, out := startChild(t, "worker", "-b", startEmbedded(t))
	waitUntil(t, "the worker works", func() bool { return strings.Contains(out.String(), "[queues]") })
	sendSignal(t, child, syscall.SIGUSR1)
	out.waitFor(t, "Stacks of all goroutines")
	out.waitFor(t, "goroutine ")
	sendSignal(t, child, sigterm)
	wantExit(t, child, 10*time.Second)
}

// startPiped runs a worker whose output we read, or not.
func startPiped(t *testing.T, args ...string) (child *exec.Cmd, read *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child = exec.Command(exe, args...)
	child.Env = append(os.Environ(), childEnv+"=1")
	child.Stdout, child.Stderr = write, write
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	t.Cleanup(func() { _ = child.Process.Kill() })
	for lines := bufio.NewScanner(read); lines.Scan(); {
		if strings.Contains(lines.Text(), "ready.") {
			return child, read
		}
	}
	t.Fatal("the worker is not ready")
	return nil, nil
}

// A worker goes on when nobody reads its output any more, gone or asleep, and one signal ends it.
func TestNobodyReadsTheOutput(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(io.Closer){
		"gone":   func(r io.Closer) { _ = r.Close() },
		"asleep": func(io.Closer) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := startEmbedded(t)
			child, read := startPiped(t, "worker", "-linfo", "-b", url, "--result-backend", url)
			end(read)
			long := strings.Repeat("x", 1000)
			for range 100 { // more than a pipe holds, with the tracebacks
				mustCall(t, "send", "-b", url, "--result-backend", url, "proj.fail", long)
			}
			id := strings.TrimSpace(mustCall(t, "send", "-b", url, "--result-backend", url, "proj.add", "1", "2"))
			if got := mustCall(t, "result", "-b", url, "--result-backend", url, "--timeout", "20", id); strings.TrimSpace(got) != "3.0" {
				t.Errorf("result %q", got)
			}
			sendSignal(t, child, sigterm)
			wantExit(t, child, 10*time.Second)
		})
	}
}

// No shutdown waits for a Redis that is away, whether it refuses connections or is silent.
func TestShutdownWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		away    func(*redistest.Server, *testing.T)
		signals []os.Signal
		most    time.Duration
	}{
		{"refused, TERM", func(s *redistest.Server, _ *testing.T) { s.Stop() }, []os.Signal{sigterm}, 5 * time.Second},
		{"refused, QUIT", func(s *redistest.Server, _ *testing.T) { s.Stop() }, []os.Signal{sigquit}, 2 * time.Second},
		{"silent, TERM", func(s *redistest.Server, t *testing.T) { s.Freeze(t) }, []os.Signal{sigterm}, 5 * time.Second},
		{"silent, QUIT", func(s *redistest.Server, t *testing.T) { s.Freeze(t) }, []os.Signal{sigquit}, 2 * time.Second},
		{"silent, TERM QUIT", func(s *redistest.Server, t *testing.T) { s.Freeze(t) }, []os.Signal{sigterm, sigquit}, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			url := server.URL(0)
			child, out := startChild(t, "worker", "-linfo", "-c1", "-b", url, "--result-backend", url)
			out.waitFor(t, "ready.")
			for range 3 {
				mustCall(t, "send", "-b", url, "proj.nap", "0.3")
			}
			out.waitFor(t, "received")
			test.away(server, t)
			for _, sig := range test.signals {
				sendSignal(t, child, sig)
			}
			wantExit(t, child, 2*test.most+4*time.Second) // on a slow machine; it was 16 s and more
			if strings.Contains(out.String(), "Hard shutdown") {
				t.Error("it did not end by itself")
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}

// A worker that is stopped while it starts ends as one that runs.
func TestStoppedWhileItStarts(t *testing.T) {
	t.Parallel()
	t.Run("reading its settings", func(t *testing.T) {
		t.Parallel()
		fifo := filepath.Join(t.TempDir(), "celery.json")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		child, out := startChild(t, "worker", "-linfo", "--embedded", "--config", fifo)
		write, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits until it reads
		if err != nil {
			t.Fatal(err)
		}
		sendSignal(t, child, sigterm)
		waitTaken(t, child)
		_, err = write.WriteString("{}")
		_ = write.Close()
		wantExit(t, child, 10*time.Second)
		if err != nil || strings.Contains(out.String(), "ready.") {
			t.Errorf("%v\n%s", err, out.String())
		}
	})
	t.Run("connecting to a broker that does not answer", func(t *testing.T) {
		t.Parallel()
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		child, _ := startChild(t, "worker", "-linfo", "-b", fmt.Sprintf("redis://%s/0", silent.Addr()))
		if _, err := silent.Accept(); err != nil {
			t.Fatal(err)
		}
		sendSignal(t, child, sigterm)
		wantExit(t, child, 5*time.Second)
	})
}
