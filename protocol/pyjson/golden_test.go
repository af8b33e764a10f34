package pyjson_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/apium/apium/protocol/pyjson"
)

// The files in testdata are what Python and kombu wrote: scripts/capture_json.py.

func lines(tb testing.TB, name string) []string {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

type loadCase struct {
	Text  string
	Dumps *string
	Error string
}

func loadCases(tb testing.TB) []loadCase {
	tb.Helper()
	var cases []loadCase
	for _, line := range lines(tb, "loads.jsonl") {
		var c loadCase
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			tb.Fatal(err)
		}
		cases = append(cases, c)
	}
	return cases
}

// loadDiffers are the texts on which this package and Python part, and why.
var loadDiffers = map[string]string{
	`"\ud83d\u00e9x"`: "Go strings cannot hold this lone surrogate",
	`"\ud83d\n"`:      "Go strings cannot hold this lone surrogate",
	`"\ud83d\\ude00"`: "Go strings cannot hold this lone surrogate",
	`"\udc7f"`:        "Go strings cannot hold this lone surrogate",
	`"\udd00"`:        "Go strings cannot hold this lone surrogate",
	`"\udcc3\udca9"`:  "bytes that are UTF-8 after all, which os.fsdecode does not write so",
}

// isUnknownType tells that kombu refuses a text for a __type__ that is not registered
// with it. Here that is an ordinary object.
func isUnknownType(refusal string) bool {
	return strings.HasPrefix(refusal, "ValueError: ('Unsupported type'") || strings.HasPrefix(refusal, "TypeError: unhashable type")
}

func TestLoadsAsPython(t *testing.T) {
	t.Parallel()
	for _, c := range loadCases(t) {
		var v any
		err := pyjson.Unmarshal([]byte(c.Text), &v)
		syntax := pyjson.Valid([]byte(c.Text))
		types := error(nil)
		if syntax == nil {
			types = pyjson.CheckTypes([]byte(c.Text))
		}
		if (err != nil) != (syntax != nil || types != nil) {
			t.Errorf("%s: Unmarshal says %v, but Valid %v and CheckTypes %v", c.Text, err, syntax, types)
		}
		if c.Dumps == nil {
			if err == nil && !isUnknownType(c.Error) {
				t.Errorf("%.200s: read as %v, %v; Python says %s", c.Text, v, err, c.Error)
			}
			message, exact := strings.CutPrefix(c.Error, "JSONDecodeError: ")
			if !exact {
				message, exact = strings.CutPrefix(c.Error, "ValueError: Exceeds")
				message = "Exceeds" + message
			}
			if exact && err != nil && message != err.Error() {
				t.Errorf("%.200s: refused with %q, Python says %q", c.Text, err, message)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: refused with %v, Python reads %s", c.Text, err, *c.Dumps)
			continue
		}
		out, err := pyjson.Append(nil, v)
		if reason, ok := loadDiffers[c.Text]; ok {
			if string(out) == *c.Dumps {
				t.Errorf("%s no longer differs, although %s", c.Text, reason)
			}
			continue
		}
		if err != nil || string(out) != *c.Dumps {
			t.Errorf("%s: read as %#v and written as %s, %v; Python writes %s", c.Text, v, out, err, *c.Dumps)
		}
	}
}

func TestFloatsAsPython(t *testing.T) {
	t.Parallel()
	for _, line := range lines(t, "floats.txt") {
		bits, repr, _ := strings.Cut(line, " ")
		raw, err := hex.DecodeString(bits)
		if err != nil {
			t.Fatal(err)
		}
		want := math.Float64frombits(new(big.Int).SetBytes(raw).Uint64())
		out, err := pyjson.Append(nil, want)
		if err != nil || string(out) != repr {
			t.Errorf("Append(%g) = %s, %v; Python writes %s", want, out, err, repr)
		}
		var back float64
		if err := pyjson.Unmarshal([]byte(repr), &back); err != nil || math.Float64bits(back) != math.Float64bits(want) {
			t.Errorf("Unmarshal(%s) = %g, %v", repr, back, err)
		}
	}
}

func TestStringsAsPython(t *testing.T) {
	t.Parallel()
	for _, line := range lines(t, "strings.jsonl") {
		var c struct {
			Text  []rune
			Dumps string
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		out, err := pyjson.Append(nil, string(c.Text))
		if err != nil || string(out) != c.Dumps {
			t.Errorf("Append(%q) = %s, %v; Python writes %s", string(c.Text), out, err, c.Dumps)
		}
		back, err := pyjson.Unquote([]byte(c.Dumps))
		if err != nil || back != string(c.Text) {
			t.Errorf("Unquote(%s) = %q, %v", c.Dumps, back, err)
		}
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{strings.Repeat("[", 1000) + strings.Repeat("]", 1000), true},
		{strings.Repeat("[", 1001) + strings.Repeat("]", 1001), false},
		{strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000), true},
		{strings.Repeat(`{"a":`, 1001) + "1" + strings.Repeat("}", 1001), false},
		{strings.Repeat(`{"__value__":`, 1000) + "1" + strings.Repeat("}", 1000), true},
		{strings.Repeat("[", 1_000_000), false},
		{strings.Repeat(`{"a":`, 1_000_000), false},
		{strings.Repeat(`{"__type__":`, 1_000_000), false},
	} {
		var v any
		for name, err := range map[string]error{
			"Valid": pyjson.Valid([]byte(c.text)), "Unmarshal": pyjson.Unmarshal([]byte(c.text), &v),
		} {
			var syntax *pyjson.SyntaxError
			if c.ok != (err == nil) || err != nil && !errors.As(err, &syntax) {
				t.Errorf("%s of %.20s…, %d bytes: %v", name, c.text, len(c.text), err)
			}
		}
	}
}
