package canvas_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// The parts of which nested signatures are put together.
const (
	leaf     = `{"task": "a"}`
	inChain  = `{"task": "c", "subtask_type": "chain", "kwargs": {"tasks": [`
	inGroup  = `{"task": "g", "subtask_type": "group", "kwargs": {"tasks": [`
	inHeader = `{"task": "h", "subtask_type": "chord", "kwargs": {"body": {"task": "b"}, "header": [`
	inBody   = `{"task": "h", "subtask_type": "chord", "kwargs": {"header": [{"task": "b"}], "body": `
	end      = `]}}`
)

var nestings = map[string]func(n int) string{
	"chains":           func(n int) string { return nest(inChain+leaf+",", end, n) },
	"groups":           func(n int) string { return nest(inGroup+leaf+",", end, n) },
	"headers":          func(n int) string { return nest(inHeader+leaf+",", end, n) },
	"bodies":           func(n int) string { return nest(inBody, "}}", n) },
	"groups in chains": func(n int) string { return nest(inChain+inGroup, ","+leaf+end+","+leaf+end, n) },
	"chains in groups": func(n int) string { return nest(inGroup+inChain+leaf+",", end+","+leaf+end, n) },
	"header chains":    func(n int) string { return nest(inHeader+inChain, ","+leaf+end+end, n) },
	"body chains":      func(n int) string { return nest(inBody+inChain+leaf+",", end+"}}", n) },
	"body groups":      func(n int) string { return nest(inBody+inGroup+leaf+",", end+"}}", n) },
	"many groups":      func(n int) string { return inChain + strings.Repeat(inGroup+leaf+","+leaf+end+",", n) + leaf + end },
	"many chords":      func(n int) string { return inChain + strings.Repeat(inHeader+leaf+","+leaf+end+",", n) + leaf + end },
}

func nest(before, after string, n int) string {
	return strings.Repeat(before, n) + leaf + strings.Repeat(after, n)
}

// TestNesting applies signatures in which work that doubled with each level would not end.
func TestNesting(t *testing.T) {
	t.Parallel()
	for name, nesting := range nestings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := nesting(25)
			sig, err := canvas.Decode([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			env := testEnvironment(nil, false)
			if _, err := canvas.Apply(sig, nil, nil, env); err != nil {
				t.Error(err)
			}
			twice := []byte("[" + raw + "," + raw + "]")
			embed := protocol.Embed{Callbacks: twice, Errbacks: twice, Chain: twice, Chord: []byte(raw)}
			if _, err := canvas.Follow(embed, []byte("1"), env); err != nil {
				t.Error(err)
			}
			if _, err := canvas.Replace(sig, &protocol.Task{ID: "i", Embed: embed}, env); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTooDeep(t *testing.T) {
	t.Parallel()
	for name, nesting := range nestings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sig, err := canvas.Decode([]byte(nesting(2000)))
			if err == nil {
				_, err = canvas.Apply(sig, nil, nil, testEnvironment(nil, false))
			}
			switch {
			case name == "many chords" && err != nil: // side by side, not nested
				t.Error(err)
			case name == "many groups" && !errors.Is(err, canvas.ErrTooDeep):
				t.Errorf("error %v, want %v", err, canvas.ErrTooDeep)
			case name != "many chords" && err == nil:
				t.Error("no error")
			}
		})
	}
}
