package pyjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol/pyjson"
)

type (
	Point struct{ X, Y int }
	base  struct {
		ID   int `json:"id"`
		Kind string
	}
	order struct {
		base
		*Point
		Name    string           `json:"name"`
		Price   pyjson.Decimal   `json:"price,omitempty"`
		Items   []item           `json:"items"`
		Note    *string          `json:"note"`
		Extra   json.RawMessage  `json:"extra"`
		Counts  map[string]int64 `json:"counts"`
		Skipped string           `json:"-"`
		Kind    int              `json:"kind"`
		Hidden  int              `json:"-"`
	}
	item struct {
		SKU string  `json:"sku"`
		Qty uint8   `json:"qty"`
		Tax float32 `json:"tax"`
	}
	node struct {
		Value int   `json:"value"`
		Next  *node `json:"next"`
	}
	level   int
	tag     string
	upper   string
	textual struct{ text string }
	parsed  struct{ raw string }
	both    struct{ from string }
	refuses struct{}
)

func (u *upper) UnmarshalText(text []byte) error {
	*u = upper(strings.ToUpper(string(text)))
	return nil
}
func (t *textual) UnmarshalText(text []byte) error { t.text = string(text); return nil }
func (p *parsed) UnmarshalJSON(raw []byte) error   { p.raw = string(raw); return nil }
func (b *both) UnmarshalJSON([]byte) error         { b.from = "json"; return nil }
func (b *both) UnmarshalText(text []byte) error    { b.from = "text " + string(text); return nil }
func (*refuses) UnmarshalJSON([]byte) error        { return errRefused }

var errRefused = errors.New("not today")

var equal = cmp.Options{
	cmp.AllowUnexported(order{}, textual{}, parsed{}, both{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }),
	cmp.Comparer(func(a, b *big.Float) bool { return a.Cmp(b) == 0 }),
	cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b }),
	cmp.Comparer(func(a, b time.Time) bool {
		return a.Equal(b) && (a.Location() == pyjson.Naive) == (b.Location() == pyjson.Naive)
	}),
}

func mark(typ, value string) string {
	return fmt.Sprintf(`{"__type__": %q, "__value__": %s}`, typ, value)
}

func ptr[T any](v T) *T { return &v }

func bigInt(s string) *big.Int { n, _ := new(big.Int).SetString(s, 10); return n }

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	uuid := pyjson.UUID{0x12, 15: 5}
	uuidText := mark("uuid", `{"hex": "12000000000000000000000000000005"}`)
	for _, c := range []struct {
		raw  string
		want any // the type to fill, and what should be in it
	}{
		{"true", true},
		{" false ", false},
		{"-128", int8(-128)},
		{"32767", int16(32767)},
		{"-2147483648", int32(-2147483648)},
		{"9223372036854775807", int64(math.MaxInt64)},
		{"-9223372036854775808", int64(math.MinInt64)},
		{"7", 7},
		{"-0", 0},
		{"255", uint8(255)},
		{"18446744073709551615", uint64(math.MaxUint64)},
		{"-0", uint(0)},
		{"7", level(7)},
		{`"a"`, tag("a")},
		{"2", 2.0},
		{"2.5", 2.5},
		{"NaN", math.NaN()},
		{"Infinity", math.Inf(1)},
		{"-Infinity", math.Inf(-1)},
		{"1e400", math.Inf(1)},
		{"0.1", float32(0.1)},
		{"9007199254740993", 9007199254740992.0},
		{`"\u00e9\ud83d\ude00"`, "é😀"},
		{`"\ud800"`, "\ufffd"},
		{"\"\xff\"", "\ufffd"},
		{`"\ud800\u0041"`, "\ufffdA"},
		{`"caf\udce9.txt"`, "caf\xe9.txt"},
		{`{"\udc80": "\udcff\u00e9"}`, map[string]string{"\x80": "\xff\u00e9"}},
		{`"\udc7f\udd00"`, "\ufffd\ufffd"},
		{`"\udce9"`, []byte("\xe9")},
		{`"\udce9"`, textual{"\xe9"}},
		{`["\ud83d\udce9"]`, json.RawMessage(`["\ud83d\udce9"]`)},
		{"null", (*int)(nil)},
		{"1", ptr(1)},
		{"1", ptr(ptr(1))},
		{"null", []int(nil)},
		{"null", map[string]int(nil)},
		{"[1, 2, 3]", []int{1, 2, 3}},
		{"[]", []int{}},
		{"[[1], []]", [][]int{{1}, {}}},
		{"[1, 2]", [2]int{1, 2}},
		{`["a", null]`, []*string{ptr("a"), nil}},
		{`{"a": 1, "b": 2, "a": 3}`, map[string]int{"a": 3, "b": 2}},
		{`{"1": "x"}`, map[int]string{1: "x"}},
		{`{"200": true}`, map[uint8]bool{200: true}},
		{`{"a": 1}`, map[upper]int{"A": 1}},
		{`{"a": 1}`, map[any]int{"a": 1}},
		{`{"a": [1]}`, map[string][]int{"a": {1}}},
		{"{}", map[string]int{}},
		{`{"X": 1, "y": 2, "z": 3}`, Point{1, 2}},
		{"{}", Point{}},
		{`{"x": null, "Y": 1}`, Point{0, 1}},
		{`{"value": 1, "next": {"value": 2, "next": null}}`, node{1, &node{2, nil}}},
		{`{"value": 1, "next": {"value": 2}, "next": {"next": null}}`, node{1, &node{}}},
		{`"aGk="`, []byte("aGk=")},
		{`"é"`, []byte("é")},
		{mark("bytes", `"hi"`), []byte("hi")},
		{mark("money", `["1", "EUR"]`), map[string]any{"__type__": "money", "__value__": []any{"1", "EUR"}}},
		{mark("money", `5`), map[string]json.RawMessage{"__type__": []byte(`"money"`), "__value__": []byte("5")}},
		{mark("money", `5`), json.RawMessage(mark("money", `5`))},
		{mark("money", mark("decimal", `"1.10"`)), map[string]any{"__type__": "money", "__value__": pyjson.Decimal("1.10")}},
		{mark("money", `5`), parsed{mark("money", `5`)}},
		{mark("money", `5`), both{"json"}},
		{"[1, 2]", []byte{1, 2}},
		{mark("base64", `"/wA="`), []byte{0xff, 0}},
		{"null", []byte(nil)},
		{mark("base64", `"/wA="`), [2]byte{0xff, 0}},
		{"1e2", json.Number("1e2")},
		{` {"a": NaN} `, json.RawMessage(`{"a": NaN}`)},
		{"null", json.RawMessage("null")},
		{"1180591620717411303424", bigInt("1180591620717411303424")},
		{"1.5", big.NewFloat(1.5)},
		{"3", big.NewFloat(3)},
		{"-Infinity", new(big.Float).SetInf(true)},
		{mark("decimal", `"1.10"`), pyjson.Decimal("1.10")},
		{`"1.10"`, pyjson.Decimal("1.10")},
		{"1.10", pyjson.Decimal("1.10")},
		{uuidText, uuid},
		{`"12000000-0000-0000-0000-000000000005"`, uuid},
		{uuidText, [16]byte(uuid)},
		{uuidText, textual{uuid.String()}},
		{mark("decimal", `"1.10"`), textual{"1.10"}},
		{mark("bytes", `"x"`), textual{"x"}},
		{mark("date", `"2030-01-02"`), textual{"2030-01-02"}},
		{mark("datetime", `"2030-01-02T03:04:05"`), textual{"2030-01-02T03:04:05Z"}},
		{`"x"`, textual{"x"}},
		{`"::1"`, netip.MustParseAddr("::1")},
		{"[NaN, 1]", parsed{"[NaN, 1]"}},
		{"null", parsed{"null"}},
		{`"x"`, both{"json"}},
		{uuidText, both{"text " + uuid.String()}},
		{`{"__type__": 1}`, both{"json"}},
		{mark("date", `"2030-01-02"`), pyjson.Date{Year: 2030, Month: 1, Day: 2}},
		{`"2030-01-02T00:00:00"`, pyjson.Date{Year: 2030, Month: 1, Day: 2}},
		{mark("time", `"03:04:05.000006+02:00"`), pyjson.Clock{Hour: 3, Minute: 4, Second: 5, Microsecond: 6, Zone: "+02:00"}},
		{`"03:04"`, pyjson.Clock{Hour: 3, Minute: 4}},
		{mark("datetime", `"2030-01-02T03:04:05.6789+02:00"`), time.Date(2030, 1, 2, 1, 4, 5, 678900000, time.UTC)},
		{mark("datetime", `"2030-01-02T03:04:05"`), time.Date(2030, 1, 2, 3, 4, 5, 0, pyjson.Naive)},
		{mark("date", `"2030-01-02"`), time.Date(2030, 1, 2, 0, 0, 0, 0, pyjson.Naive)},
		{`"2030-01-02T03:04:05Z"`, time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)},
		{`"2030-01-02"`, time.Date(2030, 1, 2, 0, 0, 0, 0, pyjson.Naive)},
		{"1.5", 1500 * time.Millisecond},
		{"60", time.Minute},
		{
			`{"id": 7, "kind": 1, "X": 5, "name": "n", "price": 2, "items": [{"sku": "s", "qty": 3, "tax": 0.1}], "note": null,
			  "extra": {"a": [1,  2]}, "counts": {"a": 1}, "Skipped": "x", "-": "x", "Hidden": 1, "new": {}}`,
			order{
				base: base{ID: 7}, Point: &Point{X: 5}, Name: "n", Price: "2", Items: []item{{"s", 3, 0.1}},
				Extra: json.RawMessage(`{"a": [1,  2]}`), Counts: map[string]int64{"a": 1}, Kind: 1,
			},
		},
	} {
		dst := reflect.New(reflect.TypeOf(c.want))
		if err := pyjson.Unmarshal([]byte(c.raw), dst.Interface()); err != nil {
			t.Errorf("%s into %T: %v", c.raw, c.want, err)
			continue
		}
		if diff := cmp.Diff(c.want, dst.Elem().Interface(), equal); diff != "" {
			t.Errorf("%s into %T (-want +got):\n%s", c.raw, c.want, diff)
		}
	}
}

func TestUnmarshalAny(t *testing.T) {
	t.Parallel()
	raw := `{"n": null, "b": true, "i": 1, "I": 9223372036854775808, "f": 1.0, "s": "x", "l": [{}, []], "d": ` +
		mark("decimal", `"1"`) + `, "t": ` + mark("time", `"01:02:03"`) + `, "y": ` + mark("bytes", `"b"`) + `}`
	want := map[string]any{
		"n": nil, "b": true, "i": int64(1), "I": bigInt("9223372036854775808"), "f": 1.0, "s": "x",
		"l": []any{map[string]any{}, []any{}}, "d": pyjson.Decimal("1"), "t": pyjson.Clock{Hour: 1, Minute: 2, Second: 3},
		"y": []byte("b"),
	}
	var got any
	if err := pyjson.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(want), got, equal); diff != "" {
		t.Error(diff)
	}
	var m map[string]any
	if err := pyjson.Unmarshal([]byte(raw), &m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, m, equal); diff != "" {
		t.Error(diff)
	}
}

func TestUnmarshalTypeErrors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("9", 100)
	for _, c := range []struct {
		raw  string
		dst  any
		want string
	}{
		{"2.0", new(int), "cannot use float as Go int"},
		{"null", new(int), "cannot use NoneType as Go int"},
		{"true", new(int64), "cannot use bool as Go int64"},
		{`"1"`, new(int), "cannot use str as Go int"},
		{"128", new(int8), "cannot use int as Go int8: 128 is out of range"},
		{"-1", new(uint), "cannot use int as Go uint: -1 is out of range"},
		{"9223372036854775808", new(int), "cannot use int as Go int: 9223372036854775808 is out of range"},
		{long, new(int), "cannot use int as Go int: 99999999999999999999… (100 digits) is out of range"},
		{"1" + strings.Repeat("0", 400), new(float64), "cannot use int as Go float64: 10000000000000000000… (401 digits) is out of range"},
		{"1e300", new(float32), "cannot use float as Go float32: 1e300 is out of range"},
		{"1", new(string), "cannot use int as Go string"},
		{"1", new(tag), "cannot use int as Go pyjson_test.tag"},
		{"1", new(bool), "cannot use int as Go bool"},
		{"{}", new([]int), "cannot use dict as Go []int"},
		{"[]", new(map[string]int), "cannot use list as Go map[string]int"},
		{"[1, 2]", new([3]int), "cannot use list as Go [3]int: it does not have 3 elements"},
		{"[1, 2]", new([1]int), "cannot use list as Go [1]int: it does not have 1 elements"},
		{mark("date", `"2030-01-02"`), new(Point), "cannot use date as Go pyjson_test.Point"},
		{mark("bytes", `"x"`), new(map[string]any), "cannot use bytes as Go map[string]interface {}"},
		{mark("datetime", `"2030-01-02"`), new(string), "cannot use datetime as Go string"},
		{mark("uuid", `{"hex": "12000000000000000000000000000005"}`), new([]any), "cannot use UUID as Go []interface {}"},
		{mark("decimal", `"1"`), new(float64), "cannot use Decimal as Go float64"},
		{mark("time", `"01:02:03"`), new(time.Time), "cannot use time as Go time.Time"},
		{`"soon"`, new(time.Time), "cannot use str as Go time.Time: invalid isoformat string"},
		{`"x"`, new(pyjson.UUID), "cannot use str as Go pyjson.UUID: badly formed hexadecimal UUID string"},
		{`{"a": 1}`, new(map[int]int), `cannot use dict as Go map[int]int: key "a": strconv.ParseInt: parsing "a": invalid syntax`},
		{`{"a": 1}`, new(map[Point]int), `cannot use dict as Go map[pyjson_test.Point]int: key "a": a str is no Go pyjson_test.Point`},
		{"1", new(chan int), "cannot use int as Go chan int"},
		{"1", new(fmt.Stringer), "cannot use int as Go fmt.Stringer"},
		{`{}`, new(upper), "cannot use dict as Go pyjson_test.upper"},
		{"1", new(refuses), "cannot use int as Go pyjson_test.refuses: not today"},
		{"NaN", new(time.Duration), "cannot use float as Go time.Duration: out of range"},
		{"NaN", new(big.Float), "cannot use float as Go big.Float: NaN is out of range"},
		{"1.0", new(big.Int), "cannot use float as Go big.Int"},
		{`[{"items": [{}, {"qty": 300}]}]`, new([]order), "[0].items[1].qty: cannot use int as Go uint8: 300 is out of range"},
		{`{"a": {"b": [0, "x"]}}`, new(map[string]map[string][]int), "a.b[1]: cannot use str as Go int"},
	} {
		err := pyjson.Unmarshal([]byte(c.raw), c.dst)
		var typeErr *pyjson.TypeError
		if !errors.As(err, &typeErr) || err.Error() != c.want {
			t.Errorf("%s into %T: %v, want %s", c.raw, c.dst, err, c.want)
		}
	}
	if err := pyjson.Unmarshal([]byte("1"), new(refuses)); !errors.Is(err, errRefused) {
		t.Errorf("what UnmarshalJSON returned is lost: %v", err)
	}
}

func TestUnmarshalOtherErrors(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "1 2", "01", "[1,]", `{"a": 1,}`, `{"a": [}`, `"a`, "nul", "[1", `{"a"`, `{"X": tru}`, `{"z": tru}`} {
		for _, dst := range []any{
			new(any), new(int), new(string), new(bool), new(float64), new([]int), new([2]int), new(map[string]int),
			new(Point), new(*int), new(time.Time), new([]byte), new(pyjson.Decimal), new(parsed), new(textual), new(json.RawMessage),
		} {
			err := pyjson.Unmarshal([]byte(raw), dst)
			var syntax *pyjson.SyntaxError
			var typeErr *pyjson.TypeError
			if !errors.As(err, &syntax) && !errors.As(err, &typeErr) {
				t.Errorf("%q into %T: %v", raw, dst, err)
			}
		}
	}
	var marker *pyjson.MarkerError
	for _, dst := range []any{new(any), new(int), new(time.Time), new(Point), new(map[string]int), new(textual), new([]byte), new([2]byte)} {
		if err := pyjson.Unmarshal([]byte(mark("date", `"1"`)), dst); !errors.As(err, &marker) || marker.Err == nil {
			t.Errorf("bad __value__ into %T: %v", dst, err)
		}
	}
	for _, dst := range []any{nil, 1, (*int)(nil), (*Point)(nil)} {
		if err := pyjson.Unmarshal([]byte("1"), dst); err == nil {
			t.Errorf("no error for %#v", dst)
		}
	}
}

// What was in a map or slice before is gone, unlike with encoding/json.
func TestUnmarshalReplaces(t *testing.T) {
	t.Parallel()
	m, s := map[string]int{"old": 1}, []int{1, 2, 3}
	if err := errors.Join(pyjson.Unmarshal([]byte(`{"new": 2}`), &m), pyjson.Unmarshal([]byte("[4]"), &s)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{map[string]int{"new": 2}, []int{4}}, []any{m, s}); diff != "" {
		t.Error(diff)
	}
}
