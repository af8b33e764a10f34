package redisbackend

import (
	"bytes"
	"testing"

	"github.com/apium/apium/backend"
)

func TestMember(t *testing.T) {
	t.Parallel()
	part := backend.ChordPart{TaskID: "é\"", State: "SUCCESS", Result: []byte(`{"a": [1, 2.0]}`)}
	member, head, err := encodeMember(part)
	if want := `[1, "\u00e9\"", "SUCCESS", {"a": [1, 2.0]}]`; err != nil || string(member) != want {
		t.Fatalf("encodeMember: %s, %v; want %s", member, err, want)
	}
	if got, want := string(member[:head]), `[1, "\u00e9\"", `; got != want {
		t.Errorf("head: %s, want %s", got, want)
	}
	got, err := decodeMember(member)
	if err != nil || got.TaskID != part.TaskID || got.State != part.State || !bytes.Equal(got.Result, part.Result) {
		t.Errorf("decodeMember: %+v, %v", got, err)
	}
}

func FuzzDecodeMember(f *testing.F) {
	for _, seed := range []string{
		`[1, "id", "SUCCESS", 3]`, `[1,"id","FAILURE",{"exc_type":"X"}]`, `[1, "id", "SUCCESS"]`, `[1, "id", "SUCCESS", 1, 2]`,
		`[1, 2, 3, 4]`, `{}`, `[]`, ``, "\x00celery-compressed\x00application/x-gzip\x00xx", `[1, "\ud800", "SUCCESS", NaN]`, `[1, "a", "b", 1`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, member []byte) {
		result, err := decodeMember(member)
		if err != nil {
			return
		}
		part := backend.ChordPart{TaskID: result.TaskID, State: result.State, Result: result.Result}
		encoded, _, err := encodeMember(part)
		if err != nil {
			t.Fatalf("encodeMember(%+v): %v", part, err)
		}
		again, err := decodeMember(encoded)
		if err != nil || again.TaskID != result.TaskID || again.State != result.State || !bytes.Equal(again.Result, result.Result) {
			t.Fatalf("%s: %+v, %v; want %+v", encoded, again, err, result)
		}
	})
}
