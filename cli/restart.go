package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// origin is how a program was started, to start it again: by the name it was called, so that
// a new version in its place is taken.
type origin struct{ path, folder string }

// findOrigin is called before anything changes the working directory.
func findOrigin() origin {
	folder, _ := os.Getwd() // "": the program cannot go back there
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		path, _ = os.Executable()
	}
	return origin{path, folder}
}

// again replaces the process by the program, with the same arguments. It returns only if
// that fails.
func (o origin) again() error {
	if o.folder != "" {
		_ = os.Chdir(o.folder)
	}
	return fmt.Errorf("cannot start %s again: %w", o.path, syscall.Exec(o.path, os.Args, os.Environ()))
}
