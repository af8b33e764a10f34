package envelope_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/envelopetest"
)

// What Celery has written is written again byte by byte.
func TestAppendWritesWhatCeleryWrites(t *testing.T) {
	t.Parallel()
	n := 0
	for _, version := range []string{"celery-5.2.7", "celery-5.7.0"} {
		for _, c := range captured(t, version) {
			for _, e := range c.Entries {
				r := envelopetest.Open([]byte(e.Raw))
				m, err := r.Message()
				if r.Err != nil || err != nil {
					t.Fatal(c.Call, r.Err, err)
				}
				n++
				got := envelope.Append(make([]byte, 0, envelope.Size(&m)), &m, string(r.Exchange), string(r.RoutingKey), string(r.DeliveryTag))
				if string(got) != e.Raw {
					t.Errorf("%s %s:\n got %s\nwant %s", version, c.Call, got, e.Raw)
				}
				if size := envelope.Size(&m); len(got) > size {
					t.Errorf("%s %s: %d bytes, of at most %d", version, c.Call, len(got), size)
				}
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d captured messages", n)
	}
}

// The envelope of a large message is the same, and never there as a whole: it is made again each time it is sent.
func TestPiecesAreTheEnvelope(t *testing.T) {
	t.Parallel()
	m := envelopetest.Message(envelopetest.New("celery", "the-id", 3))
	for size := range 7 {
		m.Body = bytes.Repeat([]byte("abcdefg"), 50_000)[size:]
		want := envelope.Append(nil, &m, "ex", "key", "tag")
		n, pieces := envelope.Pieces(&m, "ex", "key", "tag")
		for range 2 {
			var got []byte
			for piece := range pieces {
				if len(piece) > len(m.Body)/2 {
					t.Errorf("a piece has %d bytes", len(piece))
				}
				got = append(got, piece...)
			}
			if !bytes.Equal(got, want) || n != len(want) {
				t.Errorf("a body of %d bytes: %d bytes in pieces, said to be %d; want %d", len(m.Body), len(got), n, len(want))
			}
		}
		for range pieces {
			break // whoever sends them may stop
		}
	}
}

// What makes a Python consumer exit, or keeps it from reading the body.
func TestFaultsOfEnvelopes(t *testing.T) {
	t.Parallel()
	good := string(envelopetest.New("celery", "the-id", 0))
	for _, tt := range []struct{ old, new, want string }{
		{good, "\xff", "cannot decode envelope: invalid UTF-8"},
		{good, "[1]", "cannot decode envelope: not a JSON object"},
		{good, "[1", "cannot decode envelope: Expecting ',' delimiter: line 1 column 3 (char 2)"},
		{`}}`, `}`, "cannot decode envelope: Expecting ',' delimiter: line 1 column 382 (char 381)"},
		{`"headers": {`, `"headers": 5, "x": {`, "cannot decode headers: not a JSON object"},
		{`"properties"`, `"x"`, "cannot decode properties: missing"},
		{`"properties": {`, `"properties": 5, "x": {`, "cannot decode properties: not a JSON object"},
		{`"delivery_tag"`, `"x"`, "cannot decode properties.delivery_tag: missing"},
		{`"delivery_info": {`, `"delivery_info": 5, "x": {`, "cannot decode properties.delivery_info: missing or not a JSON object"},
		{`"exchange"`, `"x"`, "cannot decode properties.delivery_info.exchange: missing"},
		{`"routing_key"`, `"x"`, "cannot decode properties.delivery_info.routing_key: missing"},
		{`"body": "`, `"body": 5, "x": "`, "cannot decode body: not a string"},
		{`"base64"`, `"klingon"`, `cannot decode properties.body_encoding: unknown encoding "klingon"`},
		{`"body": "W1td`, `"body": "!!!!`, "cannot decode body: illegal base64 data at input byte 0"},
	} {
		r := envelopetest.Open([]byte(strings.Replace(good, tt.old, tt.new, 1)))
		err := r.Err
		if err == nil {
			_, err = r.Message()
		}
		if err == nil || err.Error() != tt.want {
			t.Errorf("with %s: %v, want %s", tt.new, err, tt.want)
		}
	}
	plain := strings.NewReplacer(`"base64"`, `"utf-8"`, "W1tdLCB7fSwgeyJjYWxsYmFja3MiOiBudWxsfV0=", "text").Replace(good)
	if m := envelopetest.Message([]byte(plain)); string(m.Body) != "text" {
		t.Errorf("a body that is not encoded is %q", m.Body)
	}
}
