package client

import (
	"testing"
)

func FuzzDecodeTuple(f *testing.F) {
	for _, seed := range []string{
		`[["a", null], null]`, `["a", null]`, `[["g", [["p", null], null]], [[["a", null], null], ["b", null]]]`,
		`[]`, `[[], null]`, `[[1, null], null]`, `null`, `{}`, `[["a", null], 5]`, `[["\ud800", null], null]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &Client{}
		result, err := c.decodeTuple(raw)
		if err != nil {
			return
		}
		text := result.appendTuple(nil)
		again, err := c.decodeTuple(text)
		if err != nil {
			t.Fatalf("%s, written as %s: %v", raw, text, err)
		}
		if twice := again.appendTuple(nil); string(twice) != string(text) {
			t.Fatalf("%s became %s", text, twice)
		}
	})
}

func TestNestedTooDeep(t *testing.T) {
	t.Parallel()
	deep := []byte(`["x", null]`)
	for range maxNesting + 2 {
		deep = append(append([]byte(`[["x", `), deep...), "], null]"...)
	}
	if _, err := (&Client{}).decodeTuple(deep); err == nil {
		t.Error("a bottomless result was read")
	}
}
