package sqlbackend_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/apium/apium/internal/sqltest"
)

// No goroutine outlives what started it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { sqltest.Stop(); os.Exit(code) }))
}
