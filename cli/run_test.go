package cli

import (
	"context"
	"testing"

	"github.com/apium/apium/tasks"
)

// A worker inside of another program ends with its context.
func TestRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reg := testRegistry()
	ready := false
	reg.Connect(tasks.Hooks{WorkerReady: func(string) { ready = true; cancel() }})
	if err := Run(ctx, reg, "worker", "--embedded", "--quiet"); err != nil || !ready {
		t.Errorf("ready: %v, error: %v", ready, err)
	}
	if err := Run(t.Context(), reg, "worker", "-b", "amqp://h"); err == nil || err.Error() != "exit status 2" {
		t.Errorf("error: %v", err)
	}
}
