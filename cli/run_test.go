package cli

import (
	"context"
	"errors"
	"testing"

	"github.com/apium/apium/app"
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
	var failed *Error
	var usage *UsageError
	if err := Run(t.Context(), reg, "worker", "-b", "sqs://h"); !errors.As(err, &failed) || failed.ExitStatus != exitUsage || !errors.As(err, &usage) {
		t.Errorf("error: %v", err)
	}
	var away *app.ConnectionError
	err := Run(t.Context(), reg, "worker", "--quiet", "-b", "redis://127.0.0.1:1", "broker_connection_retry=0")
	if !errors.As(err, &failed) || failed.ExitStatus != exitUnavailable || !errors.As(err, &away) {
		t.Errorf("error: %v", err)
	}
}
