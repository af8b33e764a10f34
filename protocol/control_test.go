package protocol_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
)

// captured is what kombu publishes: see scripts/capture_control.py.
type captured struct {
	Requests []struct {
		Request struct {
			Command          string
			Arguments        json.RawMessage
			Destination      []string
			Pattern, Matcher string
		}
		Ticket, OID, Message string
	}
	Replies []struct {
		Reply        json.RawMessage
		OID, Message string
	}
}

func loadControl(tb testing.TB) (c captured) {
	tb.Helper()
	raw, err := os.ReadFile("testdata/control.json")
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil || len(c.Requests) == 0 || len(c.Replies) == 0 {
		tb.Fatalf("testdata/control.json: %v", err)
	}
	return c
}

var deliveryTag = regexp.MustCompile(`"delivery_tag": "[^"]*"`)

// sameBytes compares messages but for their delivery tags, which are random.
func sameBytes(t *testing.T, want, got string) {
	t.Helper()
	if diff := cmp.Diff(deliveryTag.ReplaceAllString(want, ""), deliveryTag.ReplaceAllString(got, "")); diff != "" {
		t.Errorf("encoded again (-Python +Go):\n%s", diff)
	}
}

func sameJSON(t *testing.T, want, got []byte) {
	t.Helper()
	var a, b any
	if err := errors.Join(json.Unmarshal(want, &a), json.Unmarshal(got, &b)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("decoded (-Python +Go):\n%s", diff)
	}
}

func TestControlRequest(t *testing.T) {
	t.Parallel()
	for i, c := range loadControl(t).Requests {
		r, err := new(protocol.Decoder).DecodeControlRequest(envelopetest.Open([]byte(c.Message)))
		if err != nil {
			t.Fatal(err)
		}
		if c.Request.Arguments == nil {
			c.Request.Arguments = json.RawMessage("{}")
		}
		sameJSON(t, c.Request.Arguments, r.Arguments)
		want := protocol.ControlRequest{
			Method: c.Request.Command, Arguments: r.Arguments, Destination: c.Request.Destination,
			Pattern: c.Request.Pattern, Matcher: c.Request.Matcher, Ticket: c.Ticket, Clock: int64(i + 1), Expires: r.Expires,
		}
		if c.Ticket != "" {
			want.ReplyTo = &protocol.ControlAddress{Exchange: "reply.celery.pidbox", RoutingKey: c.OID}
		}
		if diff := cmp.Diff(want, *r); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.Request.Command, diff)
		}
		if r.Expires.IsZero() != (c.Ticket == "") || !r.Expires.IsZero() && r.Expires.Before(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s expires at %v", c.Request.Command, r.Expires)
		}
		// Floats of so many digits are written by their microseconds.
		sameBytes(t, expires.ReplaceAllString(c.Message, ""), expires.ReplaceAllString(string(envelopetest.Encode(r.Encode(), "celery.pidbox", "", protocol.NewID())), ""))
	}
}

var expires = regexp.MustCompile(`"expires": [0-9.]+`)

func TestControlReply(t *testing.T) {
	t.Parallel()
	for _, c := range loadControl(t).Replies {
		r, err := new(protocol.Decoder).DecodeControlReply(envelopetest.Open([]byte(c.Message)))
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, c.Reply, r.Value)
		if r.Node != "celery@h" || r.Ticket != "ticket" || r.Clock == 0 {
			t.Errorf("decoded %+v", r)
		}
		again, err := r.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, c.Message, string(envelopetest.Encode(again, "reply.celery.pidbox", c.OID, protocol.NewID())))
	}
}

// opened is a message as it arrives.
func opened(m protocol.Message) *protocol.Received {
	return envelopetest.Open(envelopetest.Encode(m, "", "q", "tag"))
}

// FuzzControl checks that what was decoded can be published and says the same then.
func FuzzControl(f *testing.F) {
	c := loadControl(f)
	for _, r := range c.Requests {
		f.Add([]byte(r.Message))
	}
	for _, r := range c.Replies {
		f.Add([]byte(r.Message))
	}
	for _, raw := range rawMessages(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d protocol.Decoder
		if r, err := d.DecodeControlRequest(envelopetest.Open(raw)); err == nil {
			again, err := d.DecodeControlRequest(opened(r.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			if again.Method != r.Method || len(again.Destination) != len(r.Destination) || again.Pattern != r.Pattern || again.Clock != r.Clock {
				t.Fatalf("got %+v, want %+v", again, r)
			}
		} else if v := verdict(err); v != "ack" && v != "reject" {
			t.Fatalf("error of type %T: %v", err, err)
		}
		if r, err := d.DecodeControlReply(envelopetest.Open(raw)); err == nil {
			message, err := r.Encode(nil)
			if err != nil {
				t.Fatal(err)
			}
			again, err := d.DecodeControlReply(opened(message))
			if err != nil {
				t.Fatal(err)
			}
			if again.Node != r.Node || string(again.Value) != string(r.Value) || again.Ticket != r.Ticket || again.Clock != r.Clock {
				t.Fatalf("got %+v, want %+v", again, r)
			}
		}
	})
}
