package rpcbackend_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/apium/apium/internal/rabbittest"
)

// No goroutine outlives what started it.
func TestMain(m *testing.M) {
	code := m.Run()
	rabbittest.Stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}
