// Package guarded runs servers for tests: none outlives its test binary, whatever that dies of.
package guarded

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a server may take until all of it has ended.
const patience = 2 * time.Minute

// script runs a server for as long as somebody holds the script's standard input, and then
// removes it with its data. All processes of the server inherit descriptor 3 and nobody else keeps
// it: so its other end tells when they are gone. Its arguments are the signal that ends the server,
// and its command line.
const script = `end=$1; shift
"$@" </dev/null >>log 2>&1 & exec 3>&- >/dev/null 2>&1
echo $! >pid.new; mv pid.new pid
cat
kill -s "$end" $!; wait
rm -rf "$PWD"`

// Process is a server that was started.
type Process struct {
	dir   string
	guard *exec.Cmd
	hold  io.Closer // the guard's standard input
	life  *os.File  // ends with the last process of the server
}

// Start runs a server in the directory of its command, which has nothing else to write to than a file of that
// directory: see [Process.Log]. Should this process end, the server gets a signal, by the name that the shell
// has for it, and its directory is removed.
func Start(server *exec.Cmd, end string) (*Process, error) {
	for _, stale := range []string{"pid", "log"} {
		if err := os.Remove(filepath.Join(server.Dir, stale)); err != nil && !os.IsNotExist(err) {
			return nil, err
		}
	}
	guard := exec.Command("sh", append([]string{"-c", script, "sh", end}, server.Args...)...)
	guard.Dir, guard.Env, guard.SysProcAttr = server.Dir, server.Env, server.SysProcAttr
	hold, err := guard.StdinPipe()
	if err != nil {
		return nil, err
	}
	life, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	guard.ExtraFiles = []*os.File{ours}
	err = guard.Start()
	_ = ours.Close() // the guard has it
	if err != nil {
		_ = life.Close() // nobody writes to it
		return nil, err
	}
	return &Process{dir: server.Dir, guard: guard, hold: hold, life: life}, nil
}

// Await waits until ready says so, which is asked every few milliseconds. It fails if the server ends before, or is
// not ready within some time; then it is ended by a signal. The error has what the server has logged.
func (p *Process) Await(within, every time.Duration, ready func() bool, signal syscall.Signal) error {
	var err error
	for deadline := time.Now().Add(within); !ready(); {
		switch {
		case p.gone(every):
			err = errors.New("ended at once")
		case time.Now().After(deadline):
			err = fmt.Errorf("does not answer after %v", within)
		default:
			continue
		}
		log := p.Log()
		p.End(signal)
		return fmt.Errorf("%w: %s", err, log)
	}
	return nil
}

// gone waits until all processes of the server have ended, for some time.
func (p *Process) gone(within time.Duration) bool {
	if err := p.life.SetReadDeadline(time.Now().Add(within)); err != nil {
		return true
	}
	_, err := p.life.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// Log is what the server has logged in this life.
func (p *Process) Log() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// End ends the server by a signal, and waits until nothing of it is left but its directory.
func (p *Process) End(signal syscall.Signal) {
	if text, err := os.ReadFile(filepath.Join(p.dir, "pid")); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			_ = syscall.Kill(pid, signal) // it may have ended by itself
		}
	}
	if p.gone(patience) {
		_ = p.guard.Process.Kill() // before it removes the data
	}
	p.hold.Close()
	_ = p.guard.Wait() // it was killed, or kills the server that hangs
	_ = p.life.Close() // it has ended
}

// FreePort is a port of this machine that nobody listened at a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
