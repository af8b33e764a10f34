//go:build unix && !linux

package python

import "syscall"

// The end of its socket tells the process that its parent has ended.
func diesWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

// killOrphan kills a child whose fork server has ended; 0: it is not known.
func killOrphan(pid int) {
	if pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
