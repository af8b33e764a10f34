package protocol_test

import (
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

func TestReprs(t *testing.T) {
	t.Parallel()
	for _, c := range load[textCases](t, newest, "texts.json").Reprs {
		if got := protocol.SafeRepr([]byte(c.JSON)); got != c.SafeRepr {
			t.Errorf("saferepr of %.200s:\n got %s\nwant %s", c.JSON, got, c.SafeRepr)
		}
		if c.Args != "" {
			if got := protocol.ArgsRepr([]byte(c.JSON)); got != c.Args {
				t.Errorf("args %.200s:\n got %s\nwant %s", c.JSON, got, c.Args)
			}
		}
		e := protocol.Exception{Type: "E", Message: []byte("[" + c.JSON + "]")}
		if got := e.Repr(); got != "E("+c.Repr+")" {
			t.Errorf("repr of %.200s:\n got %s\nwant %s", c.JSON, got, c.Repr)
		}
	}
}

// Bytes that are no UTF-8 are lone surrogates to Python: what its repr and Celery's
// saferepr make of them.
func TestReprsOfSurrogates(t *testing.T) {
	t.Parallel()
	raw := []byte(`["caf\udce9", {"\udc80": "\udcff\u00e9"}]`)
	if got, want := protocol.Repr(raw), `['caf\udce9', {'\udc80': '\udcffé'}]`; got != want {
		t.Errorf("repr: %s, want %s", got, want)
	}
	shown, err := pyjson.Append(nil, protocol.ArgsRepr(raw))
	if want := `"('caf\udce9', {'\udc80': '\udcff\u00e9'})"`; err != nil || string(shown) != want {
		t.Errorf("argsrepr in an event: %s, %v, want %s", shown, err, want)
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	for _, c := range load[textCases](t, newest, "texts.json").Dates {
		got, err := protocol.ParseTime(c.Text, nil)
		switch {
		case c.Error != "":
			if err == nil {
				t.Errorf("%q: got %v, want an error as %q", c.Text, got, c.Error)
			}
		case err != nil:
			t.Errorf("%q: %v, want %s", c.Text, err, c.UTC)
		case protocol.FormatTime(got.UTC()) != c.UTC:
			t.Errorf("%q: got %v, want %s", c.Text, got, c.UTC)
		}
	}
}

func TestFormatTime(t *testing.T) {
	t.Parallel()
	for want, moment := range map[string]time.Time{
		"2030-01-02T03:04:05+00:00":        time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		"2030-01-02T03:04:05.678901+00:00": time.Date(2030, 1, 2, 3, 4, 5, 678901234, time.UTC),
		"2030-01-02T03:04:05.000001-03:30": time.Date(2030, 1, 2, 3, 4, 5, 1000, time.FixedZone("", -12600)),
	} {
		if got := protocol.FormatTime(moment); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
