package canvas_test

import (
	"testing"

	"github.com/apium/apium/protocol/canvas"
)

// TestStamp: compat_test compares the messages of stamped canvases with Celery's.
func TestStamp(t *testing.T) {
	t.Parallel()
	link := canvas.Sig("next")
	sig := canvas.Sig("t").Set(canvas.Opt("region", "eu"), canvas.Opt("stamped_headers", []string{"region"})).Link(link)
	stamped := canvas.Chain(sig, canvas.Sig("u")).Stamp(map[string]any{"customer": 7})
	first := stamped.Tasks()[0]
	for _, c := range []struct{ what, got, want string }{
		{"stamps of a step", string(first.Option("customer")), "7"},
		{"its names", string(first.Option("stamped_headers")), `["customer", "region"]`},
		{"its callback", string(first.Option("link")), `[{"task": "next", "args": [], "kwargs": {}, ` +
			`"options": {"customer": 7, "stamped_headers": ["customer"]}, "subtask_type": null, "immutable": false}]`},
		{"the callback as it was", string(link.Option("customer")), ""},
		{"the step as it was", string(sig.Option("link")), `[{"task": "next", "args": [], "kwargs": {}, "options": {}, "subtask_type": null, "immutable": false}]`},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
	chord := canvas.Chord([]canvas.Signature{canvas.Sig("h")}, canvas.Sig("body")).Stamp(map[string]any{"customer": 7})
	if body, _ := chord.Body(); body.Option("customer") != nil || string(chord.Tasks()[0].Option("customer")) != "7" {
		t.Errorf("a stamped chord: %s", chord.Append(nil))
	}
	if _, err := canvas.Sig("t").Stamp(map[string]any{"bad": make(chan int)}).MarshalJSON(); err == nil {
		t.Error("a stamp that cannot be written is no error")
	}
}
