//go:build unix

package python

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// startWithParent starts a process that the kernel kills when this one ends, where it can do
// that. Such a process dies with the thread that has started it, so that thread waits for it.
// ended is called when the process has ended, with a negative signal or its exit code.
func startWithParent(cmd *exec.Cmd, ended func(code int)) error {
	cmd.SysProcAttr = diesWithParent()
	cmd.SysProcAttr.Setpgid = true // Ctrl-C is for this process alone
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its state says how it has ended
			ended(codeOf(cmd.ProcessState))
		}
	}()
	return <-started
}

func codeOf(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return -int(status.Signal())
	}
	return state.ExitCode()
}

// socketpair returns two connected sockets; neither is inherited unless it is said so.
func socketpair() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// unixConn makes a connection of a socket, which it takes over.
func unixConn(file *os.File) (*net.UnixConn, error) {
	defer func() { _ = file.Close() }()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("python: no Unix socket"), conn.Close())
	}
	return unix, nil
}

// readAtOnce reads what has arrived, even after the connection's deadline.
func readAtOnce(conn *net.UnixConn, p []byte) (n int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := raw.Control(func(fd uintptr) { n, err = syscall.Read(int(fd), p) }); e != nil {
		return 0, e
	}
	return n, err
}

// rights is what has files sent along with a message.
func rights(files []*os.File) []byte {
	if len(files) == 0 {
		return nil
	}
	fds := make([]int, len(files))
	for i, file := range files {
		fds[i] = int(file.Fd())
	}
	return syscall.UnixRights(fds...)
}

// statusText says how a process ended, in billiard's words: code is a negative signal.
func statusText(code int) string {
	if code >= 0 {
		return "exitcode " + itoa(code)
	}
	if name := signalName(syscall.Signal(-code)); name != "" {
		return "signal " + itoa(-code) + " (" + name + ")"
	}
	return "signal " + itoa(-code)
}
