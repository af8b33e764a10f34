//go:build !unix

package python

import (
	"errors"
	"net"
	"os"
	"os/exec"
)

var errNoFork = errors.New("Python tasks need a system that can fork processes, such as Linux or macOS")

func startWithParent(*exec.Cmd, func(int)) error { return errNoFork }

func socketpair() (ours, theirs *os.File, err error) { return nil, nil, errNoFork }

func unixConn(*os.File) (*net.UnixConn, error) { return nil, errNoFork }

func rights([]*os.File) []byte { return nil }

func readAtOnce(*net.UnixConn, []byte) (int, error) { return 0, errNoFork }

func killOrphan(int) {}

func statusText(code int) string { return "exitcode " + itoa(code) }
