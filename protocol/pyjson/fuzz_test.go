package pyjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

func addLoadCases(f *testing.F) {
	f.Helper()
	for _, c := range loadCases(f) {
		f.Add([]byte(c.Text))
	}
	f.Add([]byte(celeryMessage))
}

// FuzzValid compares the ways to walk through a text with one another, and with
// encoding/json, which accepts less.
func FuzzValid(f *testing.F) {
	addLoadCases(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		err := pyjson.Valid(data)
		if err != nil && json.Valid(data) && !strings.HasPrefix(err.Error(), "too deeply nested") &&
			!strings.HasPrefix(err.Error(), "Exceeds the limit") {
			t.Errorf("encoding/json accepts what is refused with: %v", err)
		}
		s := pyjson.NewScanner(data)
		var seen []string
		walk(&s, &seen)
		if end := s.End(); (end == nil) != (err == nil) {
			t.Errorf("Valid says %v, a walk %v", err, end)
		}
		var syntax *pyjson.SyntaxError
		if err != nil && (!errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(data)) {
			t.Errorf("%#v", err)
		}
	})
}

// FuzzUnmarshal fills types of all kinds, and writes and reads again what any takes.
func FuzzUnmarshal(f *testing.F) {
	addLoadCases(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		valid := pyjson.Valid(data)
		for _, dst := range []any{
			new(order), new(map[int]uint8), new([]*node), new([3]float32), new(time.Time), new(pyjson.Decimal), new(pyjson.UUID),
			new(textual), new([]byte), new(time.Duration), new(json.RawMessage),
		} {
			if err := pyjson.Unmarshal(data, dst); err == nil && valid != nil {
				t.Errorf("filled a %T, but: %v", dst, valid)
			}
		}
		var v, back any
		err := pyjson.Unmarshal(data, &v)
		if valid == nil && (err == nil) != (pyjson.CheckTypes(data) == nil) || valid != nil && err == nil {
			t.Fatalf("Unmarshal says %v, Valid %v, CheckTypes %v", err, valid, pyjson.CheckTypes(data))
		}
		if err != nil {
			return
		}
		out, err := pyjson.Append(nil, v)
		if errors.Is(err, pyjson.ErrTooDeep) {
			return
		}
		if err != nil {
			t.Fatalf("%#v: %v", v, err)
		}
		if err := pyjson.Unmarshal(out, &back); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		// Compared as text: cmp takes forever over deeply nested slices.
		if again, err := pyjson.Append(nil, back); err != nil || string(again) != string(out) {
			t.Errorf("%s became %s, %v", out, again, err)
		}
	})
}

// FuzzUnquote writes and reads again any text.
func FuzzUnquote(f *testing.F) {
	addLoadCases(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := pyjson.Unquote(data)
		if err != nil {
			return
		}
		out, err := pyjson.Append(nil, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range out {
			if c < ' ' || c > '~' {
				t.Errorf("%s is not ASCII", out)
			}
		}
		if back, err := pyjson.Unquote(out); err != nil || back != text {
			t.Errorf("%q became %q by %s: %v", text, back, out, err)
		}
	})
}
