//go:build !linux

package redistest

import "syscall"

// dieWithParent has no counterpart here: a killed test binary leaves its servers.
func dieWithParent() *syscall.SysProcAttr { return nil }
