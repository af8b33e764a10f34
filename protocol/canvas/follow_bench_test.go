package canvas_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// BenchmarkFollowChain is a step of a chain of which a thousand steps are left.
func BenchmarkFollowChain(b *testing.B) {
	step := `{"task": "bench.add", "args": [1], "kwargs": {}, "options": {"task_id": "d8326239-af70-4d37-987c-815fae594c85", "reply_to": "416d3d24-208c-4f5e-8482-cb0218406016"}, "subtask_type": null, "immutable": false}`
	embed := protocol.Embed{Chain: []byte("[" + strings.Repeat(step+", ", 999) + step + "]")}
	env := canvas.Environment{ParentID: "a", RootID: "a", NewID: func() string { return "b" }}
	b.SetBytes(int64(len(embed.Chain)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canvas.Follow(embed, json.RawMessage("3"), env); err != nil {
			b.Fatal(err)
		}
	}
}
