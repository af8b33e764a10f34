package python

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

// resolve fills in what is left out and does not depend on what the process is for.
func (o *Options) resolve() (err error) {
	if o.Interpreter, o.which, err = interpreter(o.Interpreter); err != nil {
		return err
	}
	if o.Argv == nil {
		o.Argv = []string{"celery", "-A", o.App, "worker"}
	}
	return nil
}

// run starts a Python process that runs a module of the driver, with a file as its descriptor 3,
// which is closed here. The ending tells when and how it has ended.
func (o *Options) run(module string, options any, theirs *os.File) (*os.Process, *ending, error) {
	defer func() { _ = theirs.Close() }()
	source, err := driver(module, options)
	if err != nil {
		return nil, nil, fmt.Errorf("python: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("python: %w", err)
	}
	defer func() { _ = read.Close() }()
	go func() {
		_, _ = write.Write(source) // a process that does not read it says why itself
		_ = write.Close()
	}()
	cmd := exec.Command(o.Interpreter, "-c", starter)
	cmd.Dir, cmd.Env = o.Dir, append(os.Environ(), o.Environ...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if o.Stdout != nil {
		cmd.Stdout = o.Stdout
	}
	if o.Stderr != nil {
		cmd.Stderr = o.Stderr
	}
	cmd.ExtraFiles = []*os.File{theirs, read}
	end := &ending{done: make(chan struct{})}
	if err := startWithParent(cmd, func(code int) {
		end.code = code
		close(end.done)
	}); err != nil {
		return nil, nil, fmt.Errorf("cannot run %s: %w", o.Interpreter, withoutPath(err))
	}
	return cmd.Process, end, nil
}

// ending is how a process ends.
type ending struct {
	done chan struct{} // closed when it has
	code int           // a negative signal, or its exit code; read it when done is closed
}

// itself tells how a process has ended that was about to. One that takes too long is killed.
func (e *ending) itself(process *os.Process) (code int) {
	select {
	case <-e.done:
	case <-time.After(partingTime):
		_ = process.Kill()
		<-e.done
	}
	return e.code
}

// connection returns a connection to a process that is to be given the other end.
func connection() (conn *net.UnixConn, theirs *os.File, err error) {
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, nil, fmt.Errorf("python: %w", err)
	}
	if conn, err = unixConn(ours); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn, theirs, nil
}
