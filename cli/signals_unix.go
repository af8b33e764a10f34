//go:build unix

package cli

import (
	"os"
	"syscall"
)

// processSignals are those that concern the process, of which Main is in charge.
var processSignals = []os.Signal{syscall.SIGHUP, syscall.SIGUSR1}

func isHangup(sig os.Signal) bool { return sig == syscall.SIGHUP }
func isDump(sig os.Signal) bool   { return sig == syscall.SIGUSR1 }
