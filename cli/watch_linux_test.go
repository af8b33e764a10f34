package cli

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/apium/apium/internal/terminaltest"
)

// onTerminal runs the program on a terminal.
func onTerminal(t *testing.T, width, height int, args ...string) (*exec.Cmd, *terminaltest.Terminal) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), childEnv+"=1", "TERM=xterm")
	return cmd, terminaltest.Start(t, cmd, width, height)
}

// wantTerminalBack waits for the end of a program, which must leave its terminal as it was.
func wantTerminalBack(t *testing.T, cmd *exec.Cmd, terminal *terminaltest.Terminal) (status int) {
	t.Helper()
	status = exitCode(t, cmd)
	terminal.WaitUntil("the screen of before", func(s *terminaltest.Screen) bool {
		return !s.Alternate() && !s.CursorHidden() && s.Wraps()
	})
	if terminal.Raw() {
		t.Error("the terminal is raw")
	}
	return status
}

func TestEventsGiveTheTerminalBack(t *testing.T) {
	t.Parallel()
	url := startEmbedded(t)
	for name, end := range map[string]func(*exec.Cmd, *terminaltest.Terminal){
		"q":       func(_ *exec.Cmd, terminal *terminaltest.Terminal) { terminal.Type("q") },
		"Ctrl-C":  func(_ *exec.Cmd, terminal *terminaltest.Terminal) { terminal.Type("\x03") },
		"SIGINT":  func(cmd *exec.Cmd, _ *terminaltest.Terminal) { sendSignal(t, cmd, os.Interrupt) },
		"SIGTERM": func(cmd *exec.Cmd, _ *terminaltest.Terminal) { sendSignal(t, cmd, syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, terminal := onTerminal(t, 100, 20, "events", "-b", url)
			terminal.WaitFor("events: 0  tasks: 0", "q:quit")
			if !terminal.Raw() {
				t.Error("keys are echoed")
			}
			end(cmd, terminal)
			if status := wantTerminalBack(t, cmd, terminal); status != exitOK {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

// panicOnScreen is what TestMain's child does instead of a command: it panics while it has the screen.
func panicOnScreen() {
	s, err := newProgram(testRegistry(), os.Args, os.Stdout, os.Stderr).openScreen()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUsage)
	}
	s.draw([]string{"about to panic"})
	go func() {
		defer s.leaveOnPanic()
		_, _ = s.in.Read(make([]byte, 1))
		panic("a key was pressed")
	}()
	select {}
}

func TestPanicGivesTheTerminalBack(t *testing.T) {
	t.Parallel()
	cmd, terminal := onTerminal(t, 100, 50, "panic on screen")
	terminal.WaitFor("about to panic")
	terminal.Type("x")
	if status := wantTerminalBack(t, cmd, terminal); status != 2 {
		t.Errorf("exit status %d", status)
	}
	terminal.WaitFor("panic: a key was pressed", "goroutine ")
}

// A view of a worker's tasks, and what keys do to the worker.
func TestEventsOnATerminal(t *testing.T) {
	t.Parallel()
	url := startEmbedded(t)
	child, out := startChild(t, "worker", "-b", url, "--result-backend", url, "-l", "info", "-E", "-n", "w@h")
	out.waitFor(t, "w@h ready.")
	cmd, terminal := onTerminal(t, 150, 30, "events", "-b", url)
	terminal.WaitFor("w@h")
	id := strings.TrimSpace(mustCall(t, "send", "proj.nap", "1", "--countdown", "3600", "-b", url))
	terminal.WaitFor("RECEIVED            proj.nap                     w@h                " + id)
	failed := strings.TrimSpace(mustCall(t, "send", "proj.fail", "no money", "-b", url))
	terminal.WaitFor("FAILURE")

	terminal.Type("jt")
	terminal.WaitFor("Traceback of "+failed, "ValueError: no money")
	terminal.Type("qr")
	terminal.WaitFor("Result of "+failed, "ValueError('no money')")
	terminal.Type(" \x1b[B")
	terminal.WaitUntil("the task that waits, chosen", func(s *terminaltest.Screen) bool { return strings.Contains(s.Reversed(), id) })
	terminal.Type("i")
	terminal.WaitFor("Task "+id, "state: RECEIVED", "args: (1,)")
	terminal.Type("q")
	terminal.Ask("c", "Answers to revoke", "q", "w@h: OK tasks {'"+id+"'} flagged as revoked")
	if revoked := mustCall(t, "inspect", "revoked", "-d", "w@h", "-t", "60", "-b", url); !strings.Contains(revoked, id) {
		t.Errorf("%s is not revoked: %s", id, revoked)
	}
	terminal.Type("ql")
	terminal.WaitFor("New rate limit of proj.nap")
	terminal.Type("\x1b")
	terminal.WaitUntil("no question", func(s *terminaltest.Screen) bool { return !strings.Contains(s.String(), "New rate limit") })
	terminal.Ask("l7/m\r", "Answers to rate_limit", "q", "w@h: OK new rate limit set successfully")
	if registered := mustCall(t, "inspect", "registered", "rate_limit", "-d", "w@h", "-t", "60", "-b", url); !strings.Contains(registered, "proj.nap [rate_limit=7/m]") {
		t.Errorf("the rate is not limited: %s", registered)
	}
	terminal.Type("q")
	for _, size := range [][2]int{{60, 16}, {30, 8}, {12, 3}, {200, 40}} {
		terminal.Resize(size[0], size[1])
		terminal.WaitUntil("a picture of another size", func(s *terminaltest.Screen) bool {
			lines := strings.Split(strings.TrimSuffix(s.String(), "\n"), "\n")
			return strings.HasPrefix(lines[len(lines)-1], "j:down k:up") && strings.HasPrefix(lines[len(lines)-2], "Selected:")
		})
	}
	terminal.Type("q")
	wantTerminalBack(t, cmd, terminal)
	sendSignal(t, child, syscall.SIGTERM)
	exitCode(t, child)
}
