package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// runningError says that a pid file belongs to a live process: exit status 73
// (EX_CANTCREAT), as Celery's.
type runningError struct {
	path string
	pid  int
}

func (e *runningError) Error() string {
	return fmt.Sprintf("ERROR: Pidfile (%s) already exists.\nSeems we're already running? (pid: %d)", e.path, e.pid)
}

// writePidfile creates the pid file and returns what removes it. A file left
// behind by a process that is gone is replaced.
func writePidfile(path string, stderr io.Writer) (remove func(), err error) {
	for {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			if err := removeStale(path, stderr); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pid file: %w", err)
		}
		_, err = fmt.Fprintf(file, "%d\n", os.Getpid())
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("pid file: %w", err)
		}
		return func() { _ = os.Remove(path) }, nil
	}
}

// removeStale removes the pid file of a process that has ended.
func removeStale(path string, stderr io.Writer) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "Broken pidfile found - Removing it.")
	case pid != os.Getpid() && alive(pid):
		return &runningError{path: path, pid: pid}
	default:
		fmt.Fprintln(stderr, "Stale pidfile exists - Removing it.")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

func alive(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = process.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, fs.ErrPermission)
}
