package pyjson_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol/pyjson"
)

type (
	optional struct {
		A int       `json:"a,omitempty"`
		B []int     `json:"b,omitempty"`
		C *int      `json:"c,omitempty"`
		D time.Time `json:"d,omitzero"`
		E Point     `json:"e,omitzero"`
		F string    `json:"é"`
		g int
	}
	self    struct{ Self *self }
	pointer *pointer
	asJSON  struct{}
	asText  struct{ int }
	onPtr   struct{}
	broken  struct{}
)

func (asJSON) MarshalJSON() ([]byte, error)           { return []byte(`{"x":NaN}`), nil }
func (asText) MarshalText() ([]byte, error)           { return []byte("té"), nil }
func (*onPtr) MarshalJSON() ([]byte, error)           { return []byte(`"ptr"`), nil }
func (broken) MarshalJSON() ([]byte, error)           { return []byte("{"), nil }
func (refuses) MarshalText() (text []byte, err error) { return nil, errRefused }

func TestAppend(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("x", -9*3600-30*60)
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "null"},
		{true, "true"},
		{1, "1"},
		{int8(-1), "-1"},
		{uint64(math.MaxUint64), "18446744073709551615"},
		{level(3), "3"},
		{tag("é"), `"\u00e9"`},
		{2.0, "2.0"},
		{float32(0.1), "0.1"},
		{float32(1e-4), "0.0001"},
		{float32(1e20), "1e+20"},
		{math.Copysign(0, -1), "-0.0"},
		{math.NaN(), "NaN"},
		{math.Inf(-1), "-Infinity"},
		{"a\xffb", `"a\udcffb"`},
		{"<&>\u2028", `"<&>\u2028"`},
		{[]any{1, "a", nil, 1.5}, `[1, "a", null, 1.5]`},
		{map[string]any{"b": 1, "a": []int{}}, `{"a": [], "b": 1}`},
		{[]int(nil), "[]"},
		{map[string]int(nil), "{}"},
		{[]any(nil), "[]"},
		{map[string]any(nil), "{}"},
		{(*int)(nil), "null"},
		{(*big.Int)(nil), "null"},
		{[]byte(nil), mark("bytes", `""`)},
		{json.RawMessage(nil), "null"},
		{error(nil), "null"},
		{[2]int{1, 2}, "[1, 2]"},
		{[]string{"a"}, `["a"]`},
		{[][]float64{{1}, nil}, "[[1.0], []]"},
		{ptr(ptr(1)), "1"},
		{map[int]bool{2: true, 10: false}, `{"10": false, "2": true}`},
		{map[asText]int{{1}: 1}, `{"t\u00e9": 1}`},
		{map[any]int{1: 1, "b": 2, true: 3, 2.0: 4, nil: 5}, `{"1": 1, "2.0": 4, "b": 2, "null": 5, "true": 3}`},
		{Point{1, 2}, `{"X": 1, "Y": 2}`},
		{&node{1, &node{2, nil}}, `{"value": 1, "next": {"value": 2, "next": null}}`},
		{optional{}, `{"\u00e9": ""}`},
		{
			optional{1, []int{2}, ptr(0), time.Unix(0, 0).UTC(), Point{1, 0}, "x", 1},
			`{"a": 1, "b": [2], "c": 0, "d": ` + mark("datetime", `"1970-01-01T00:00:00+00:00"`) + `, "e": {"X": 1, "Y": 0}, "\u00e9": "x"}`,
		},
		{
			order{base: base{ID: 1}, Point: &Point{}, Name: "n"},
			`{"id": 1, "Kind": "", "X": 0, "Y": 0, "name": "n", "items": [], "note": null, "extra": null, "counts": {}, "kind": 0}`,
		},
		{
			order{Price: "1.10", Extra: json.RawMessage("[1,2]")},
			`{"id": 0, "Kind": "", "name": "", "price": ` + mark("decimal", `"1.10"`) + `, "items": [], "note": null, "extra": [1,2], "counts": {}, "kind": 0}`,
		},
		{asJSON{}, `{"x":NaN}`},
		{[]asText{{}}, `["t\u00e9"]`},
		{&onPtr{}, `"ptr"`},
		{onPtr{}, "{}"},
		{[]onPtr{{}}, `["ptr"]`},
		{(*asJSON)(nil), "null"},
		{json.Number("1e2"), "1e2"},
		{json.Number(""), "0"},
		{json.RawMessage(`{"a":1}`), `{"a":1}`},
		{bigInt("1180591620717411303424"), "1180591620717411303424"},
		{*bigInt("-5"), "-5"},
		{[]*big.Int{bigInt("5"), nil}, "[5, null]"},
		{90 * time.Second, "90.0"},
		{1500 * time.Millisecond, "1.5"},
		{time.Date(2030, 1, 2, 3, 4, 5, 678900999, time.UTC), mark("datetime", `"2030-01-02T03:04:05.678900+00:00"`)},
		{time.Date(2030, 1, 2, 3, 4, 5, 999, time.UTC), mark("datetime", `"2030-01-02T03:04:05+00:00"`)},
		{time.Date(30, 1, 2, 3, 4, 5, 0, zone), mark("datetime", `"0030-01-02T03:04:05-09:30"`)},
		{time.Date(2030, 1, 2, 3, 4, 5, 0, pyjson.Naive), mark("datetime", `"2030-01-02T03:04:05"`)},
		{time.Date(1850, 1, 2, 3, 4, 5, 0, time.FixedZone("LMT", 561)), mark("datetime", `"1850-01-02T03:04:05+00:09:21"`)},
		{pyjson.Date{Year: 2030, Month: 1, Day: 2}, mark("date", `"2030-01-02"`)},
		{pyjson.Clock{Hour: 3, Minute: 4, Microsecond: 10, Zone: "+02:00"}, mark("time", `"03:04:00.000010+02:00"`)},
		{[]pyjson.Decimal{"1.10", "NaN"}, "[" + mark("decimal", `"1.10"`) + ", " + mark("decimal", `"NaN"`) + "]"},
		{&pyjson.UUID{15: 5}, mark("uuid", `{"hex": "00000000000000000000000000000005"}`)},
		{[]byte("h\né"), mark("bytes", `"h\n\u00e9"`)},
		{[]byte{0xff, 0}, mark("base64", `"/wA="`)},
		{[2]byte{1, 2}, "[1, 2]"},
	} {
		got, err := pyjson.Append([]byte("> "), c.v)
		if err != nil || string(got) != "> "+c.want {
			t.Errorf("Append(%#v)\n got %s, %v\nwant > %s", c.v, got, err, c.want)
		}
	}
}

func TestAppendErrors(t *testing.T) {
	t.Parallel()
	loop := &self{}
	loop.Self = loop
	list := []any{nil}
	list[0] = list
	dict := map[string]any{}
	dict["d"] = dict
	var any1 any
	any1 = &any1
	ring := new(pointer)
	*ring = pointer(ring)
	deep := any(1)
	for range 1001 {
		deep = []any{deep}
	}
	for _, v := range []any{loop, list, dict, any1, ring, deep} {
		if got, err := pyjson.Append([]byte("x"), v); !errors.Is(err, pyjson.ErrTooDeep) || string(got) != "x" {
			t.Errorf("%T in itself: %.40s, %v", v, got, err)
		}
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{make(chan int), "Object of type chan int is not JSON serializable"},
		{[]any{1, func() {}}, "Object of type func() is not JSON serializable"},
		{struct{ C complex64 }{}, "Object of type complex64 is not JSON serializable"},
		{big.NewFloat(1), "Object of type big.Float is not JSON serializable"},
	} {
		_, err := pyjson.Append(nil, c.v)
		var unsupported *pyjson.UnsupportedTypeError
		if !errors.As(err, &unsupported) || err.Error() != c.want {
			t.Errorf("%T: %v", c.v, err)
		}
	}
	for _, v := range []any{
		broken{},
		json.RawMessage("{"), json.RawMessage(""), json.Number("1x"), pyjson.Decimal("x"),
		pyjson.Date{},
		pyjson.Date{Year: 10000, Month: 1, Day: 1},
		pyjson.Clock{Hour: 25},
		pyjson.Clock{Zone: "CET"},
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		map[Point]int{{}: 1},
		[]any{refuses{}},
	} {
		if got, err := pyjson.Append([]byte("x"), v); err == nil || string(got) != "x" {
			t.Errorf("Append(%#v) = %s, %v", v, got, err)
		}
	}
	if _, err := pyjson.Append(nil, refuses{}); !errors.Is(err, errRefused) {
		t.Errorf("what MarshalText returned is lost: %v", err)
	}
}

// A list nested as deep as Append goes can be read again.
func TestDepthsAgree(t *testing.T) {
	t.Parallel()
	deep := any("x")
	for range 1000 {
		deep = []any{deep}
	}
	out, err := pyjson.Append(nil, deep)
	if err != nil {
		t.Fatal(err)
	}
	var back any
	if err := pyjson.Unmarshal(out, &back); err != nil || !reflect.DeepEqual(back, deep) {
		t.Error(err)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	in := order{
		base: base{ID: 7}, Point: &Point{1, 2}, Name: strings.Repeat("né\n", 50), Price: "0.10",
		Items: []item{{"a", 1, 0.1}, {}}, Note: ptr("x"), Extra: json.RawMessage("[NaN]"), Counts: map[string]int64{"a": math.MinInt64},
	}
	raw, err := pyjson.Append(nil, &in)
	if err != nil {
		t.Fatal(err)
	}
	var out order
	if err := pyjson.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out, equal); diff != "" {
		t.Error(diff)
	}
}
