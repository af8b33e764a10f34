package canvas_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// Lone surrogates, which a Go string cannot hold, and types nobody knows are passed on as
// they came.
func TestFollowKeepsTexts(t *testing.T) {
	t.Parallel()
	const kwargs = `{"k\ud800": "\ud83d\udce9", "m": {"__type__": "money", "__value__": "\udc00"}}`
	sig := func(args string) string {
		return `{"task": "a", "args": ` + args + `, "kwargs": ` + kwargs + `, "options": {}, "subtask_type": null, "immutable": false}`
	}
	chain := `{"task": "celery.chain", "args": [], "kwargs": {"tasks": [` + sig(`["\udd00"]`) + ", " + sig(`["\ud801"]`) +
		`]}, "options": {}, "subtask_type": "chain", "immutable": false}`
	plan, err := canvas.Follow(protocol.Embed{Callbacks: []byte("[" + chain + "]"), Chain: []byte("[" + sig(`["caf\udce9"]`) + "]")},
		json.RawMessage(`"\udcff\ud83d"`), canvas.Environment{NewID: protocol.NewID})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, step := range plan.Steps {
		if publish, ok := step.(canvas.Publish); ok {
			texts = append(texts, string(publish.Task.Args)+string(publish.Task.Kwargs)+string(publish.Task.Embed.Chain))
		}
	}
	got := strings.Join(texts, "\n")
	for _, want := range []string{`["\udcff\ud83d", "\udd00"]` + kwargs, `["\ud801"]`, `["\udcff\ud83d", "caf\udce9"]` + kwargs} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}
