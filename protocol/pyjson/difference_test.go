package pyjson_test

import (
	"strings"
	"testing"

	"github.com/apium/apium/protocol/pyjson"
)

func TestDifference(t *testing.T) {
	t.Parallel()
	for _, same := range [][2]string{
		{`1`, `1.0`},
		{`-0`, `0`},
		{`0.0`, `-0.0`},
		{`1e3`, `1000`},
		{`NaN`, `NaN`},
		{`Infinity`, `1e999`},
		{`123456789012345678901234567890`, `123456789012345678901234567890`},
		{`9007199254740992`, `9007199254740992.0`},
		{`"\u00e9"`, `"é"`},
		{`"a"`, ` "a" `},
		{`null`, `null`},
		{`{"a": 1, "b": [2, {"c": 3}]}`, `{"b":[2.0,{"c":3}],"a":1}`},
		{`{"a": 1, "a": 2}`, `{"a": 2}`},
		{`[]`, `[ ]`},
	} {
		if where, a, b, equal := pyjson.Difference([]byte(same[0]), []byte(same[1])); !equal {
			t.Errorf("%s and %s differ at %q: %s, %s", same[0], same[1], where, a, b)
		}
	}
	for _, c := range [][5]string{
		{`1`, `2`, "", "1", "2"},
		{`1`, `true`, "", "1", "true"},
		{`1`, `"1"`, "", "1", `"1"`},
		{`null`, `0`, "", "null", "0"},
		{`9007199254740993`, `9007199254740992.0`, "", "9007199254740993", "9007199254740992.0"},
		{`1`, `NaN`, "", "1", "NaN"},
		{`Infinity`, `-Infinity`, "", "Infinity", "-Infinity"},
		{`0.1`, `0.10000000000000002`, "", "0.1", "0.10000000000000002"},
		{`[1, 2]`, `[2, 1]`, "[0]", "1", "2"},
		{`[1]`, `[1, 2]`, "[1]", "", "2"},
		{`[1, 2]`, `[1]`, "[1]", "2", ""},
		{`{"a": {"b": [0, 1]}}`, `{"a": {"b": [0, 2]}}`, "['a']['b'][1]", "1", "2"},
		{`{"a": 1}`, `{}`, "['a']", "1", ""},
		{`{}`, `{"a": 1}`, "['a']", "", "1"},
		{`[]`, `{}`, "", "[]", "{}"},
	} {
		where, a, b, equal := pyjson.Difference([]byte(c[0]), []byte(c[1]))
		if equal || where != c[2] || string(a) != c[3] || string(b) != c[4] {
			t.Errorf("%s and %s: at %q %s, %s (%v), want at %q %s, %s", c[0], c[1], where, a, b, equal, c[2], c[3], c[4])
		}
	}
	deep := strings.Repeat("[", 500) + strings.Repeat("]", 500)
	if _, _, _, equal := pyjson.Difference([]byte(deep), []byte(" "+deep)); !equal {
		t.Error("a deep value differs from itself")
	}
}
