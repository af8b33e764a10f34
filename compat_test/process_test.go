package compat_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apium/apium/internal/logtest"
)

// patience is how long a test waits for what must happen. It costs nothing where it does,
// and is for machines that are slow and have other work.
const patience = 2 * time.Minute

// process is a program under test or a peer. Its output is kept; it and all its
// children are killed at the end of the test.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{} // closed when the process has ended

	killed bool // with its children: others may have their numbers now
}

// start runs a program in a process group of its own.
func start(t *testing.T, name, dir string, env []string, path string, args ...string) *process {
	t.Helper()
	return startReading(t, nil, name, dir, env, path, args...)
}

// startReading starts a program that reads a file as its standard input; nil: none.
func startReading(t *testing.T, stdin *os.File, name, dir string, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(path, args...), log: &logBuffer{}, done: make(chan struct{})}
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.begin(t)
	return p
}

// startInto starts a program that writes into a file.
func startInto(t *testing.T, out *os.File, name, dir string, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(path, args...), log: &logBuffer{}, done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.begin(t)
	return p
}

// begin starts the program.
func (p *process) begin(t *testing.T) {
	t.Helper()
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.cmd.SysProcAttr.Setpgid = true
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is read from ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.name, tail(p.log.String(), 6000))
		}
	})
}

// kill is kill -9 for the process and its children. It returns when it is gone.
func (p *process) kill() {
	if p.killed {
		return
	}
	p.killed = true
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // gone already is fine
	<-p.done
}

func (p *process) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("%s to %s: %v", sig, p.name, err)
	}
}

// stopped tells whether the process has ended.
func (p *process) stopped() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exitCode waits until the process has ended by itself.
func (p *process) exitCode(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("%s is still running", p.name)
		return -1
	}
}

// waitLog waits until a line of the log contains the text.
func (p *process) waitLog(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(patience)
	for !p.log.contains(text) {
		select {
		case <-p.done:
			if !p.log.contains(text) {
				t.Fatalf("%s ended (%v) without saying %q", p.name, p.cmd.ProcessState, text)
			}
		case <-deadline:
			t.Fatalf("%s did not say %q", p.name, text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, within time.Duration, what string, condition func() bool) {
	t.Helper()
	if !comesTrue(within, condition) {
		t.Fatalf("after %s still not: %s", within, what)
	}
}

// comesTrue waits for a condition, and tells whether it was met.
func comesTrue(within time.Duration, condition func() bool) bool {
	for deadline := time.Now().Add(within); !condition(); {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return true
}

// logBuffer collects a process's output while others read it.
type logBuffer struct{ logtest.Buffer }

func (b *logBuffer) contains(text string) bool { return strings.Contains(b.String(), text) }

func (b *logBuffer) count(text string) int { return b.Count(text) }

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
