package pyjson_test

import (
	"testing"

	"github.com/apium/apium/protocol/pyjson"
)

func TestReencode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{`[2,3]`, `[2, 3]`},
		{` { "b" :1,"a":[ ] , "c":{}} `, `{"b": 1, "a": [], "c": {}}`},
		{`[1e5,1E400,-0,-0.0,2.0,1.10,NaN,-Infinity,true,null]`, `[100000.0, Infinity, 0, -0.0, 2.0, 1.1, NaN, -Infinity, true, null]`},
		{`"é\/\u0041"`, `"\u00e9/A"`},
		{`"\ud83d\ude00"`, `"\ud83d\ude00"`},
		{`"\ud800"`, `"\ud800"`},
		{`{"__type__": "uuid", "__value__": {"int": 1}}`, `{"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000001"}}`},
		{`[{"__type__": "mine", "__value__": [1,2]}]`, `[{"__type__": "mine", "__value__": [1, 2]}]`},
	} {
		got, err := pyjson.Reencode([]byte("x"), []byte(test.in))
		if err != nil || string(got) != "x"+test.want {
			t.Errorf("%s: %s, %v\n  want %s", test.in, got, err, test.want)
		}
	}
	for _, bad := range []string{``, `[1`, `[1]x`, `{"__type__": "decimal", "__value__": "x"}`} {
		if got, err := pyjson.Reencode([]byte("x"), []byte(bad)); err == nil || string(got) != "x" {
			t.Errorf("%s: %s, %v", bad, got, err)
		}
	}
}

// What is encoded again stays the same from then on, and means the same.
func FuzzReencode(f *testing.F) {
	for _, seed := range []string{`[2,3]`, `{"a":"é"}`, `1e999`, `"\ud800"`, `{"__type__":"uuid","__value__":{"int":1}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := pyjson.Reencode(nil, data)
		if err != nil {
			return
		}
		twice, err := pyjson.Reencode(nil, once)
		if err != nil || string(twice) != string(once) {
			t.Errorf("%q → %q → %q, %v", data, once, twice, err)
		}
	})
}
