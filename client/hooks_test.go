package client_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// TestPublishHooks: what is sent passes the hooks, each task once, and carries what the first adds.
func TestPublishHooks(t *testing.T) {
	t.Parallel()
	var before, after []string
	r := newRig(t, func(cfg *client.Config) {
		cfg.BeforePublish = func(_ context.Context, task *protocol.Task) {
			before = append(before, task.Name)
			task.Headers = []byte(`{"traceparent": "00-1"}`)
		}
		cfg.AfterPublish = func(_ context.Context, task *protocol.Task) { after = append(after, task.Name) }
	})
	r.send(canvas.Group(canvas.Sig("a"), canvas.Sig("b")))
	for _, task := range r.queued("celery", 2) {
		if !strings.Contains(string(task.Headers), "00-1") {
			t.Errorf("headers of %s: %s", task.Name, task.Headers)
		}
	}
	if want := []string{"a", "b"}; !slices.Equal(before, want) || !slices.Equal(after, want) {
		t.Errorf("before publishing: %v, after: %v", before, after)
	}
}
