//go:build unix

package python

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// What a message says is read by a child that is there for calls, which is given up with them.
func TestReadBody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(1)
	r.pids(1)
	read := func(ctx context.Context, body string) (string, error) {
		said, err := r.app.pool.ReadBody(ctx, broker.Deliver(&protocol.Message{Body: []byte(body), ContentType: "application/x-own"}, protocol.Info{}))
		return string(said), err
	}
	if said, err := read(t.Context(), "read"); said != `{"task": "echo"}` || err != nil {
		t.Errorf("%s, %v", said, err)
	}
	if _, err := read(t.Context(), "raise"); err == nil || !strings.Contains(err.Error(), "ValueError: no") {
		t.Error(err)
	}
	own := r.pids(2)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := read(ctx, "mute"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	r.gone(own[1])
}
