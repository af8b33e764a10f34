//go:build !unix

package python

// Numbers of signals as on Linux: nothing is sent here.
const (
	sigUser1 = 10
	sigTerm  = 15
	sigKill  = 9
)
