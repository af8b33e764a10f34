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

// TestPrepare: the messages are those of Send, what a chord needs is stored, and nothing is published.
func TestPrepare(t *testing.T) {
	t.Parallel()
	var told []string
	tell := func(when string) func(context.Context, *protocol.Task) {
		return func(_ context.Context, task *protocol.Task) { told = append(told, when+" "+task.Name) }
	}
	r := newRig(t, func(cfg *client.Config) { cfg.BeforePublish, cfg.AfterPublish = tell("before"), tell("after") })
	p, err := r.client.Prepare(t.Context(), canvas.Group(canvas.Sig("a", 1), canvas.Sig("b")).Set(canvas.Queue("q")))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Publications) != 2 || p.Task.Name != "a" || p.Publications[1].RoutingKey != "q" {
		t.Errorf("prepared: %+v", p)
	}
	p.Published(t.Context())
	if want := []string{"before a", "before b", "after a", "after b"}; !slices.Equal(told, want) {
		t.Errorf("hooks: %q", told)
	}
	for text, sig := range map[string]canvas.Signature{
		"nothing to send":               canvas.Group(),
		"does not keep chords":          canvas.Chord([]canvas.Signature{canvas.Sig("a"), canvas.Sig("b")}, canvas.Sig("c")),
		"odd":                           canvas.Sig("a").Set(canvas.Compression("odd")),
		"larger than what is published": canvas.Sig("a", strings.Repeat("x", 13<<20)),
	} {
		if _, err := withoutBackend(t).Prepare(t.Context(), sig); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
}

// withoutBackend is a client that keeps no results.
func withoutBackend(t *testing.T) *client.Client {
	t.Helper()
	return newRig(t, func(cfg *client.Config) { cfg.Loader = nil }).client
}
