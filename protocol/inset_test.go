package protocol_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// withInset is a task with a list in its arguments: written there, and as an inset.
func withInset(before, after string, elements ...string) (written, inset *protocol.Task) {
	var raws [][]byte
	for _, element := range elements {
		raws = append(raws, []byte(element))
	}
	in := protocol.NewInset(raws)
	task := func(list []byte) *protocol.Task {
		return &protocol.Task{
			Name: "join", ID: "id", RoutingKey: "celery",
			Args: []byte("[" + before + string(list) + after + "]"), Kwargs: []byte(`{"k": [1]}`),
			Embed: protocol.Embed{Chain: []byte(`[{"task": "next", "args": [` + string(list) + `]}]`)},
		}
	}
	written, inset = task(pyjson.AppendArray(nil, raws)), task(in.Mark())
	inset.Inset = in
	return written, inset
}

// The message of a task with an inset is the one that it would be if all was written in its place, and so are the fields
// once it is filled in.
func TestInset(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("text ", 400) + `"`
	for _, tt := range []struct {
		before, after string
		elements      []string
	}{
		{"", "", nil},
		{"", "", []string{"1"}},
		{"", ", 2", []string{"1", "null", `"a"`}},
		{"[[[1]]], ", `, {"a": {"b": {"c": 1}}}`, []string{`{"a": [1, [2]]}`, "[[3, {}]]", "[]"}},
		{"", "", []string{long, long, "1"}},
		{long + ", ", "", []string{"1", "2"}},
		{"", ", 5", strings.Split(strings.Repeat("[[[1]]] ", 499)+"1", " ")},
		{`"` + strings.Repeat("x", 1020) + `", `, ", 3", []string{"1", "2"}},
	} {
		written, inset := withInset(tt.before, tt.after, tt.elements...)
		want, err := protocol.EncodeTask(written, protocol.Publication{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // it may be made again
			got, err := protocol.EncodeTask(inset, protocol.Publication{})
			if err != nil || !bytes.Equal(got.Body, want.Body) || !bytes.Equal(got.Headers, want.Headers) {
				t.Errorf("%v\n got %s\n     %s\nwant %s\n     %s", err, got.Headers, got.Body, want.Headers, want.Body)
			}
		}
		inset.FillIn()
		if !bytes.Equal(inset.Args, written.Args) || !bytes.Equal(inset.Embed.Chain, written.Embed.Chain) || inset.Inset != nil {
			t.Errorf("filled in: %s %s, want %s", inset.Args, inset.Embed.Chain, written.Args)
		}
	}
}

// There is one copy of what is inset: the body.
func TestInsetIsCopiedOnce(t *testing.T) { //nolint:paralleltest // it looks at what the process allocates
	element := `"` + strings.Repeat("x", 1<<20) + `"`
	_, task := withInset("", ", 1", element, element, element, element)
	task.Embed = protocol.Embed{}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := protocol.EncodeTask(task, protocol.Publication{})
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err != nil || n > uint64(len(m.Body))*11/10 {
		t.Errorf("%d bytes were allocated for a body of %d; %v", n, len(m.Body), err)
	}
}

// Of a long text only the beginning is looked at, and that is shown as if it was all.
func TestReprOfLongTexts(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"a", "ab ", "é", "\U0001f600", `\n`, `\"`, `\\`, `\u00e9`, `\ud83d\ude00`, `\ud83d`, `x\ud83d\ude00`} {
		for _, before := range []string{"", `1, "y", `} {
			short := protocol.SafeRepr([]byte("[" + before + `"` + strings.Repeat(unit, 1100) + `"]`))
			long := protocol.SafeRepr([]byte("[" + before + `"` + strings.Repeat(unit, 50_000) + `"]`))
			if short != long {
				t.Errorf("%s: %d characters, want %d", unit, len(long), len(short))
			}
		}
	}
}
