package pyjson_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol/pyjson"
)

// walk tells everything a Scanner meets: containers are entered, strings read.
func walk(s *pyjson.Scanner, out *[]string) {
	kind := s.Kind()
	for _, open := range []byte("{[") {
		if kind != open || !s.Enter(open) {
			continue
		}
		*out = append(*out, string(open))
		for s.Next() {
			if open == '{' {
				*out = append(*out, string(s.Key())+":")
			}
			walk(s, out)
		}
		*out = append(*out, "end")
		return
	}
	if text, ok := s.Text(); ok {
		*out = append(*out, fmt.Sprintf("%q", text))
		return
	}
	*out = append(*out, string(s.Value()))
}

func TestScanner(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		` {"a" : 1, "b": {"c": [true , []], "\u0064": {}} , "e": "f\n"} `: `{ a: 1 b: { c: [ true [ end end d: { end end e: "f\n" end`,
		`[NaN, -1.5e3, [[ ]], "é"]`:                                       `[ NaN -1.5e3 [ [ end end "é" end`,
		`"x"`:                                                             `"x"`, "null": "null",
	} {
		s := pyjson.NewScanner([]byte(raw))
		var got []string
		walk(&s, &got)
		if err := s.End(); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %s, %v; want %s", raw, strings.Join(got, " "), err, want)
		}
	}
}

func TestScannerSkips(t *testing.T) {
	t.Parallel()
	raw := []byte(`{"a": [1, {"x": 2}], "b": {"c": 1, "d": [5, 6], "e": 2}, "f": null, "g": "h"}`)
	s := pyjson.NewScanner(raw)
	var got []string
	if s.Enter('[') || !s.Enter('{') {
		t.Fatal("the value ahead is an object")
	}
	for s.Next() {
		switch key := string(s.Key()); key {
		case "b":
			start := s.Offset()
			s.Enter('{')
			for s.Next() {
				if string(s.Key()) == "d" {
					got = append(got, string(s.Value()), string(s.Value())) // taken only once
				}
			}
			got = append(got, string(raw[start:s.Offset()]))
		case "f":
			if _, ok := s.Text(); ok || s.Enter('{') || s.Kind() != 'n' {
				t.Error("null is taken for something else")
			}
		case "g":
			got = append(got, string(s.Value()))
		}
	}
	want := []string{"[5, 6]", "", `{"c": 1, "d": [5, 6], "e": 2}`, `"h"`}
	if diff := cmp.Diff(want, got); diff != "" || s.End() != nil {
		t.Error(diff, s.Err())
	}
	if s.Next() || s.Value() != nil || s.Kind() != 0 || s.Enter('{') || len(s.Key()) > 3 {
		t.Error("there is something behind the end")
	}
}

// Whatever is asked of a Scanner, End finds what is wrong with the text.
func TestScannerRefusesWhatValidDoes(t *testing.T) {
	t.Parallel()
	for _, c := range loadCases(t) {
		want := pyjson.Valid([]byte(c.Text))
		s := pyjson.NewScanner([]byte(c.Text))
		var seen []string
		walk(&s, &seen)
		if got := s.End(); (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
			t.Errorf("%.60s: Valid says %v, a walk %v", c.Text, want, got)
		}
		s = pyjson.NewScanner([]byte(c.Text))
		_ = s.Enter('{') && s.Next() && s.Enter('[')
		if got := s.End(); (got == nil) != (want == nil) {
			t.Errorf("%.60s: Valid says %v, End in the middle %v", c.Text, want, got)
		}
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]byte{
		"null": 'n', " true": 't', "\nfalse": 'f', "-1": '0', "0": '0', "9": '0', "NaN": '0', "Infinity": '0', "-Infinity": '0',
		`"`: '"', "[": '[', "\t{": '{', "": 0, " ": 0, "x": 0, "'": 0, "]": 0,
	} {
		if got := pyjson.Kind([]byte(raw)); got != want {
			t.Errorf("Kind(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestUnquote(t *testing.T) {
	t.Parallel()
	raw := []byte(` "plain" `)
	text, err := pyjson.UnquoteBytes(raw)
	if err != nil || string(text) != "plain" || &text[0] != &raw[2] {
		t.Errorf("UnquoteBytes(%s) = %q, %v; it should be a part of its argument", raw, text, err)
	}
	if _, err := pyjson.Unquote([]byte("12")); err == nil || err.Error() != "expected a string, got int" {
		t.Error(err)
	}
	var syntax *pyjson.SyntaxError
	if _, err := pyjson.Unquote([]byte(`"a" 1`)); !errors.As(err, &syntax) || syntax.Offset != 4 {
		t.Error(err)
	}
}

// Reading a message costs no allocation.
func TestScannerDoesNotAllocate(t *testing.T) {
	message := []byte(celeryMessage)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := scanMessage(message); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCutLast(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][2]string{
		`[1]`:                         {"[]", "1"},
		` [ {"a": [1, 2]} ] `:         {"[]", `{"a": [1, 2]}`},
		`[1, "a, ]b" , [2,3]]`:        {`[1, "a, ]b"]`, "[2,3]"},
		`[{"a": 1},{"b": 2},null]`:    {`[{"a": 1},{"b": 2}]`, "null"},
		`[]`:                          {},
		`{"a": 1}`:                    {},
		`null`:                        {},
		``:                            {},
		`[1, 2`:                       {},
		`[1, 2] 3`:                    {},
		`[1, 2,]`:                     {},
		`["a\\", "b\\\"]", "c\\"]`:    {`["a\\", "b\\\"]"]`, `"c\\"`},
		`["\"", {"]": "[\",\""} ]`:    {`["\""]`, `{"]": "[\",\""}`},
		`]`:                           {},
		`["`:                          {},
		`[1, [2, [3, {"x": "\"]"}]]]`: {"[1]", `[2, [3, {"x": "\"]"}]]`},
	} {
		before, last := pyjson.CutLast([]byte(raw))
		if string(before) != want[0] || string(last) != want[1] {
			t.Errorf("%s: %s and %s", raw, before, last)
		}
	}
}
