//go:build !unix

package cli

import "os"

var processSignals []os.Signal

func isHangup(os.Signal) bool { return false }
func isDump(os.Signal) bool   { return false }
