package pyjson_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/apium/apium/protocol/pyjson"
)

func TestBuildingWritesWhatAppendWrites(t *testing.T) {
	values := []any{"", "a, [", "é{", []any{}, []any{[]any{}}, map[string]any{}, map[string]any{"[": []any{1}}, nil, 1.5}
	names := []string{"", "plain", "quoted \"[", "ü{"}
	for n := range values {
		array, want := []byte{'['}, values[:n]
		var raws []json.RawMessage
		for _, v := range want {
			raws = append(raws, encoded(t, v))
			array = append(pyjson.AppendComma(array), encoded(t, v)...)
		}
		if array = append(array, ']'); string(array) != string(encoded(t, want)) {
			t.Errorf("an array is %s, should be %s", array, encoded(t, want))
		}
		if got := pyjson.AppendArray([]byte("x "), raws); string(got) != "x "+string(array) {
			t.Errorf("an array of raw values is %s, should be %s", got, array)
		}
	}
	object, want := []byte{'{'}, map[string]any{}
	for i, name := range names { // they are in order, as Append writes them
		object = append(pyjson.AppendKey(object, name), encoded(t, values[i])...)
		want[name] = values[i]
	}
	if object = append(object, '}'); string(object) != string(encoded(t, want)) {
		t.Errorf("an object is %s, should be %s", object, encoded(t, want))
	}
	for _, text := range append(names, "\xff\n", "😀") {
		if got, want := pyjson.AppendString(nil, text), encoded(t, text); string(got) != string(want) {
			t.Errorf("a string is %s, should be %s", got, want)
		}
	}
}

func TestBuildingInsideAndWithoutBrackets(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{string(pyjson.AppendComma(nil)), ""},
		{string(pyjson.AppendKey(nil, "a")), `"a": `},
		{string(pyjson.AppendKey([]byte(`"a": 1`), "b")), `"a": 1, "b": `},
		{string(pyjson.AppendKey([]byte(`[1, {`), "b")), `[1, {"b": `},
		{string(pyjson.AppendKey([]byte(`[1, {}`), "b")), `[1, {}, "b": `},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
}

func TestBuildingDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 100)
	allocations := testing.AllocsPerRun(100, func() {
		dst = pyjson.AppendString(pyjson.AppendKey(append(dst[:0], '{'), "name"), "value")
		dst = append(pyjson.AppendComma(dst), '}')
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func TestWalking(t *testing.T) {
	object := []byte(` {"a": [1, {"b": 2}], "\u00e9": null, "a": "again"}`)
	var names, values []string
	for name, value := range pyjson.Members(object) {
		names, values = append(names, name), append(values, string(value))
	}
	if !slices.Equal(names, []string{"a", "é", "a"}) || !slices.Equal(values, []string{`[1, {"b": 2}]`, "null", `"again"`}) {
		t.Errorf("members are %q with %q", names, values)
	}
	for name, want := range map[string]string{"a": `"again"`, "é": "null", "b": ""} {
		if got := pyjson.Member(object, name); string(got) != want {
			t.Errorf("member %s is %s, should be %s", name, got, want)
		}
	}
	if got := pyjson.Elements([]byte(` [1, [2], {"a": 3}] `)); len(got) != 3 || string(got[1]) != "[2]" || string(got[2]) != `{"a": 3}` {
		t.Errorf("elements are %q", got)
	}
	for range pyjson.Members(object) {
		break // a walk may be left
	}
}

func TestWalkingThroughWhatIsNone(t *testing.T) {
	for _, raw := range []string{"", "null", "1", `"text"`, "[", "{", "{]", "[}", `{"a"`, `{"a": `, `{"a": x}`, "[x]"} {
		for name, value := range pyjson.Members([]byte(raw)) {
			t.Errorf("%s has a member %s: %s", raw, name, value)
		}
		for _, value := range pyjson.Elements([]byte(raw)) {
			t.Errorf("%s has an element %s", raw, value)
		}
		if value := pyjson.Member([]byte(raw), "a"); value != nil {
			t.Errorf("%s has a member a: %s", raw, value)
		}
	}
	if got := pyjson.Elements([]byte("[1, 2, x, 3]")); len(got) != 2 {
		t.Errorf("elements before what is no JSON are %q", got)
	}
}

func encoded(t *testing.T, v any) json.RawMessage {
	t.Helper()
	raw, err := pyjson.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
