package envelope_test

import (
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
