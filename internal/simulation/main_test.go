package simulation_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)   // goroutines take turns, so that a seed does the same again more often
	debug.SetGCPercent(400) // a quarter faster, and no seed holds much
	os.Exit(m.Run())
}
