package python

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile returns a file that is in memory only.
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("apium-page", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "apium-page"), nil
}
