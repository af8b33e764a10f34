package canvas_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
)

// FuzzApply reads what it is given and applies it in every way the worker does. What is
// read must be written as JSON that reads the same, and what is planned must be possible
// to send.
func FuzzApply(f *testing.F) {
	for _, seed := range []string{
		`{"task": "a"}`, `{"task": "a", "args": [1], "kwargs": {"k": NaN}, "options": {"link": {"task": "b"}}, "immutable": true}`,
		`{"task": "celery.group", "kwargs": {"tasks": []}, "subtask_type": "group"}`,
		`{"task": "c", "kwargs": {"task": {"task": "m"}, "it": [1, 2, 3], "n": 2}, "subtask_type": "chunks"}`,
		`{"task": "c", "kwargs": {"header": {"task": "g", "kwargs": {"tasks": [{"task": "a"}]}, "subtask_type": "group"}, "body": null}, "subtask_type": "chord", "chord_size": 1}`,
	} {
		f.Add([]byte(seed), []byte("[]"))
	}
	var cases []applyCase
	readCases(f, "random.json", &cases)
	for i, c := range cases {
		if i > 0 && len(c.JSON) < 4000 {
			f.Add([]byte(c.JSON), []byte("["+cases[i-1].JSON+"]"))
		}
	}
	f.Fuzz(func(t *testing.T, raw, list []byte) {
		sig, err := canvas.Decode(raw)
		if err != nil {
			return
		}
		text := sig.Append(nil)
		if err := pyjson.Valid(text); err != nil {
			t.Fatalf("written %s: %v", text, err)
		}
		again, err := canvas.Decode(text)
		if err != nil {
			t.Fatalf("reading again %s: %v", text, err)
		}
		if second := again.Append(nil); !bytes.Equal(text, second) {
			t.Fatalf("%s\nread again: %s", text, second)
		}
		env := testEnvironment(&request{ID: "cur", RootID: "root"}, true)
		args := []json.RawMessage{[]byte("1")}
		plan, err := canvas.Apply(sig, args, nil, env)
		encodeAll(t, plan, err)
		plan, err = canvas.Follow(protocol.Embed{Callbacks: list, Chain: list}, []byte("null"), env)
		encodeAll(t, plan, err)
		task := &protocol.Task{ID: "cur", Embed: protocol.Embed{Callbacks: list, Errbacks: raw, Chain: list, Chord: raw}}
		plan, err = canvas.Replace(sig, task, env)
		encodeAll(t, plan, err)
		plan, err = canvas.AddToChord(sig, task, env)
		encodeAll(t, plan, err)
		_, _ = canvas.FailChain(list)
		_, _ = canvas.FailBody(sig, env.NewID)
	})
}

func encodeAll(t *testing.T, plan *canvas.Plan, err error) {
	t.Helper()
	if err != nil {
		return
	}
	for _, step := range plan.Steps {
		p, ok := step.(canvas.Publish)
		if !ok {
			continue
		}
		message, err := protocol.EncodeTask(p.Task, p.Publication)
		if err != nil {
			t.Fatal(err)
		}
		raw := envelopetest.Encode(message, p.Task.Exchange, p.Task.RoutingKey, "tag")
		if err := pyjson.Valid(raw); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
	}
}
