package worker_test

import (
	"testing"

	"github.com/apium/apium/worker"
)

// As kombu.clocks.LamportClock does it.
func TestClock(t *testing.T) {
	t.Parallel()
	var c worker.Clock
	for i, step := range []struct {
		do   func() int64
		want int64
	}{
		{c.Value, 0},
		{c.Forward, 1},
		{func() int64 { return c.Adjust(10) }, 11},
		{func() int64 { return c.Adjust(3) }, 12},
		{c.Forward, 13},
		{c.Value, 13},
	} {
		if got := step.do(); got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
}
