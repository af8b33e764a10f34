package envelope_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// capture is a call and the queue entries that a real producer left for it.
type capture struct {
	Call    string
	Entries []struct {
		Raw      string
		Restored string // what kombu's restore makes of it
	}
}

func captured(tb testing.TB, version string) (all []capture) {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "protocol", "testdata", version, "messages.json"))
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// rawMessages returns captured queue entries, for fuzzing.
func rawMessages(tb testing.TB) (all [][]byte) {
	tb.Helper()
	for _, version := range []string{"celery-3.1.26", "celery-4.4.7", "celery-5.2.7", "celery-5.7.0"} {
		for _, c := range captured(tb, version) {
			for _, e := range c.Entries {
				all = append(all, []byte(e.Raw))
			}
		}
	}
	return all
}

func TestMarkRedelivered(t *testing.T) {
	t.Parallel()
	n := 0
	for _, c := range captured(t, "celery-5.7.0") {
		for _, e := range c.Entries {
			if e.Restored == "" {
				continue
			}
			n++
			got, err := envelope.MarkRedelivered([]byte(e.Raw))
			if err != nil || string(got) != e.Restored {
				t.Errorf("%s (%v):\n got %s\nwant %s", c.Call, err, got, e.Restored)
			}
			if again, err := envelope.MarkRedelivered(got); err != nil || string(again) != string(got) {
				t.Errorf("%s: marked twice: %s, %v", c.Call, again, err)
			}
			if m := envelopetest.Open(got); m.Err != nil || !m.Redelivered {
				t.Errorf("%s: not redelivered: %v", c.Call, m.Err)
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d captured restores", n)
	}
	for raw, want := range map[string]string{
		`{}`: `{}`,
		`{"properties":{"delivery_info":{}},"headers":{}}`:          `{"properties":{"delivery_info":{"redelivered": true}},"headers":{"redelivered": true}}`,
		`{"headers":null,"x":NaN}`:                                  `{"headers":null,"x":NaN}`,
		`{"headers":{"redelivered":false,"a":1e400,"b":"\ud800"} }`: `{"headers":{"redelivered":true,"a":1e400,"b":"\ud800"} }`,
	} {
		got, err := envelope.MarkRedelivered([]byte(raw))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v", raw, got, err)
		}
	}
	if _, err := envelope.MarkRedelivered([]byte(`{"headers": {`)); err == nil {
		t.Error("no error for a broken entry")
	}
}

func FuzzOpen(f *testing.F) {
	for _, raw := range rawMessages(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := envelopetest.Open(raw)
		var decode *protocol.DecodeError
		if m.Err != nil && !errors.As(m.Err, &decode) {
			t.Fatalf("error of type %T: %v", m.Err, m.Err)
		}
		if headers := m.Headers.Raw(); m.Err == nil && headers != nil && pyjson.Valid(headers) != nil {
			t.Fatalf("headers %q are no JSON", headers)
		}
	})
}

func FuzzMarkRedelivered(f *testing.F) {
	for _, raw := range rawMessages(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		marked, err := envelope.MarkRedelivered(raw)
		if err != nil {
			return
		}
		if err := pyjson.Valid(marked); err != nil {
			t.Fatalf("%v in %s", err, marked)
		}
		if twice, err := envelope.MarkRedelivered(marked); err != nil || !bytes.Equal(twice, marked) {
			t.Fatalf("marked twice: %s, %v, from %s", twice, err, marked)
		}
	})
}

// BenchmarkOpen reads the headers of a message as a worker does, which uses its memory again.
func BenchmarkOpen(b *testing.B) {
	raw := []byte(captured(b, "celery-5.7.0")[0].Entries[0].Raw)
	b.ReportAllocs()
	var m protocol.Received
	for b.Loop() {
		if envelope.Open(raw, &m); m.Err != nil {
			b.Fatal(m.Err)
		}
	}
}
