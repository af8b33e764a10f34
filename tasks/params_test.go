package tasks

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol/pyjson"
)

// parsed is how CPython reads a parameter list: see scripts/capture_typeerrors.py.
type parsed struct {
	Params   string
	Error    string
	Names    []string
	PosOnly  int `json:"pos_only"`
	Pos      int
	Defaults map[string]json.RawMessage
}

func loadParsed(tb testing.TB) []parsed {
	tb.Helper()
	raw, err := os.ReadFile("testdata/calls.json")
	if err != nil {
		tb.Fatal(err)
	}
	var golden struct{ Parse []parsed }
	if err := pyjson.Unmarshal(raw, &golden); err != nil {
		tb.Fatal(err)
	}
	if len(golden.Parse) < 100 {
		tb.Fatalf("only %d parameter lists in testdata/calls.json", len(golden.Parse))
	}
	return golden.Parse
}

func TestParseSignature(t *testing.T) {
	t.Parallel()
	for _, want := range loadParsed(t) {
		sig, err := parseSignature(want.Params)
		if (err != nil) != (want.Error != "") {
			t.Errorf("%q: error %v, Python: %q", want.Params, err, want.Error)
			continue
		}
		if err != nil {
			continue
		}
		got := parsed{Params: want.Params, Names: sig.names, PosOnly: sig.posOnly, Pos: sig.pos, Defaults: map[string]json.RawMessage{}}
		for i, def := range sig.defaults {
			if def != nil {
				got.Defaults[sig.names[i]] = def
			}
		}
		if diff := cmp.Diff(normal(t, want), normal(t, got)); diff != "" {
			t.Errorf("%q (-Python +Go):\n%s", want.Params, diff)
		}
	}
}

// normal writes a parsed list in one way, whatever the spelling of its defaults.
func normal(t *testing.T, p parsed) string {
	t.Helper()
	defaults := map[string]any{}
	for name, raw := range p.Defaults {
		var v any
		if err := pyjson.Unmarshal(raw, &v); err != nil {
			t.Fatalf("%q: default of %s: %v", p.Params, name, err)
		}
		defaults[name] = v
	}
	text, err := pyjson.Append(nil, []any{p.Names, p.PosOnly, p.Pos, defaults})
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "[null,", "[[],")
}

// What Python computes when the module is loaded cannot be copied, and says so.
func TestParseSignatureRefusesExpressions(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]string{
		"x, timeout=settings.TIMEOUT": `default of timeout: only literals can be used, and "settings.TIMEOUT" is not one`,
		"x=10**2":                     `default of x: only literals can be used, and "**2" is not part of one`,
		"x=timedelta(days=1)":         `default of x: only literals can be used, and "timedelta(days=1)" is not one`,
		"x=1 if y else 2":             `default of x: only literals can be used, and "if y else 2" is not part of one`,
		"x=b'raw'":                    `default of x: only literals can be used, and "b'raw'" is not one`,
		"x=f'{y}'":                    `default of x: only literals can be used, and "f'{y}'" is not one`,
		"x={1: 2}":                    `default of x: the keys of a dict must be strings, and "1: 2}" is not one`,
		"x='''a'''":                   `default of x: strings in triple quotes cannot be used`,
		`x='\N{DASH}'`:                `default of x: \N{…} cannot be used`,
		"x, y=1, z":                   `z has no default and follows a parameter that has one`,
		"x, lambda":                   `"lambda" is a keyword of Python`,
		"x=1" + strings.Repeat("0", 4300): `default of x: Exceeds the limit (4300 digits) for integer string conversion; ` +
			`use sys.set_int_max_str_digits() to increase the limit`,
		"x y": `"y" where a comma was expected`,
	} {
		_, err := parseSignature(params)
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", params, err, want)
		}
	}
}

func FuzzParseSignature(f *testing.F) {
	for _, p := range loadParsed(f) {
		f.Add(p.Params)
	}
	f.Fuzz(func(t *testing.T, params string) {
		sig, err := parseSignature(params)
		if err != nil {
			return
		}
		if len(sig.defaults) != len(sig.names) || sig.posOnly > sig.pos || sig.pos > len(sig.names) {
			t.Fatalf("%q: inconsistent %+v", params, sig)
		}
		for i, def := range sig.defaults {
			if def == nil {
				continue
			}
			if err := pyjson.Valid(def); err != nil {
				t.Fatalf("%q: default of %s is %q: %v", params, sig.names[i], def, err)
			}
		}
	})
}
