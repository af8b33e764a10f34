package amqpbroker

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// captured is a message that Celery has published: its properties, with the types of its headers.
type captured struct {
	From       string
	Properties struct {
		ContentType     string `json:"content_type"`
		ContentEncoding string `json:"content_encoding"`
		Headers         map[string]map[string]any
		DeliveryMode    uint8 `json:"delivery_mode"`
		Priority        *uint8
		CorrelationID   string `json:"correlation_id"`
		ReplyTo         string `json:"reply_to"`
		Expiration      string
	}
}

func readCaptured(t *testing.T) (all []captured) {
	t.Helper()
	raw, err := os.ReadFile("testdata/published.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("%d messages were captured", len(all))
	}
	return all
}

// field makes a field of what was captured of one: {letter: value}.
func field(t *testing.T, typed map[string]any) any {
	t.Helper()
	for letter, v := range typed {
		switch letter {
		case "S", "t", "V", "d":
			return v
		case "I":
			return int32(v.(float64))
		case "l", "L":
			return int64(v.(float64))
		case "A":
			list := []any{}
			for _, element := range v.([]any) {
				list = append(list, field(t, element.(map[string]any)))
			}
			return list
		case "F":
			table := amqp.Table{}
			for name, element := range v.(map[string]any) {
				table[name] = field(t, element.(map[string]any))
			}
			return table
		}
	}
	t.Fatalf("what is %v?", typed)
	return nil
}

// TestMessagesAreCelerys reads what Celery has published, and publishes it again: nothing differs.
func TestMessagesAreCelerys(t *testing.T) {
	t.Parallel()
	for _, c := range readCaptured(t) {
		p := c.Properties
		d := amqp.Delivery{
			Headers: amqp.Table{}, ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, DeliveryMode: p.DeliveryMode,
			CorrelationId: p.CorrelationID, ReplyTo: p.ReplyTo, Expiration: p.Expiration, Body: []byte("b"), Exchange: "x", RoutingKey: "k", Redelivered: true,
		}
		for name, typed := range p.Headers {
			d.Headers[name] = field(t, typed)
		}
		if p.Priority != nil {
			d.Priority = *p.Priority
			d.DeliveryMode |= rabbitconn.PriorityGiven
		}
		var r protocol.Received
		if content(&d).Read(&r); r.Err != nil {
			t.Fatalf("%s: %v", c.From, r.Err)
		}
		if string(r.Exchange) != "x" || string(r.RoutingKey) != "k" || !r.Redelivered {
			t.Errorf("%s: came from %s by %s", c.From, r.Exchange, r.RoutingKey)
		}
		m, err := r.Message()
		if err != nil {
			t.Fatal(err)
		}
		if m.Properties.NoPriority != (p.Priority == nil) {
			t.Errorf("%s: %s: whether there is a priority is lost", c.From, r.Properties)
		}
		got, err := publishing(&m, "guest")
		if err != nil {
			t.Fatal(err)
		}
		want := amqp.Publishing{
			Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode, Priority: d.Priority,
			CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration, Body: d.Body,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.From, diff)
		}
	}
}

// TestTable has what pyamqp does with each type, both ways.
func TestTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		headers string
		field   any
		back    string // "": headers
	}{
		{headers: `null`, field: nil},
		{headers: `true`, field: true},
		{headers: `"\u00e9\ud83d\ude00"`, field: "é😀"},
		{headers: `2147483647`, field: int32(math.MaxInt32)},
		{headers: `2147483648`, field: int64(math.MaxInt32 + 1)},
		{headers: `-9223372036854775808`, field: int64(math.MinInt64)},
		{headers: `2.0`, field: 2.0},
		{headers: `-Infinity`, field: math.Inf(-1)},
		{headers: `[1, [], {}]`, field: []any{int32(1), []any{}, amqp.Table{}}},
		{headers: `{"__type__": "decimal", "__value__": "1.50"}`, field: amqp.Decimal{Scale: 2, Value: 150}, back: `{"__type__": "decimal", "__value__": "1.5"}`},
		{headers: `{"__type__": "datetime", "__value__": "2026-11-29T14:00:00"}`, field: time.Date(2026, 11, 29, 14, 0, 0, 0, pyjson.Naive)},
		{headers: `{"__type__": "base64", "__value__": "AP8="}`, field: "\x00\xff"},
	} {
		got, err := table([]byte(`{"id": "1", "h": ` + c.headers + `}`))
		if err != nil {
			t.Errorf("%s: %v", c.headers, err)
			continue
		}
		if want := (amqp.Table{"id": "1", "h": c.field}); !cmp.Equal(want, got) {
			t.Errorf("%s (-want +got):\n%s", c.headers, cmp.Diff(want, got))
		}
		if c.back == "" {
			c.back = c.headers
		}
		if back, want := string(appendTable(nil, got)), `{"id": "1", "h": `+c.back+`}`; back != want {
			t.Errorf("%s came back as %s", want, back)
		}
	}
	for _, bad := range []string{`1`, `{"a": 9223372036854775808}`, `{"a": [{"b": {"__type__": "uuid", "__value__": "4b8d0b1f-7c7e-4c1f-9d0c-6d1f0b1f7c7e", "x": }}]}`, `{"`, `{"a": {"__type__": "decimal", "__value__": "12345678901"}}`, `{"` + strings.Repeat("n", 256) + `": 1}`} {
		if got, err := table([]byte(bad)); err == nil {
			t.Errorf("%s became %v", bad, got)
		}
	}
}

func TestPublishingRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]protocol.Message{
		"correlation_id": {Properties: protocol.Properties{CorrelationID: strings.Repeat("c", 256)}},
		"priority":       {Properties: protocol.Properties{Priority: 256}},
		"delivery_mode":  {Properties: protocol.Properties{DeliveryMode: 3}},
		"headers":        {Headers: []byte(`[]`)},
		"message_id":     {Properties: protocol.Properties{Others: []byte(`{"message_id": "` + strings.Repeat("c", 256) + `"}`)}},
	} {
		if _, err := publishing(&m, "guest"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := protocol.Message{Properties: protocol.Properties{Others: []byte(`{"user_id": "somebody", "type": "t", "timestamp": 7, "unknown": 1}`)}}
	p, err := publishing(&m, "guest")
	if want := (amqp.Publishing{Type: "t", Timestamp: time.Unix(7, 0)}); err != nil || !cmp.Equal(want, p) {
		t.Errorf("%v %v", p, err)
	}
}

// FuzzTable sees that headers which have the form of a table come back as they were read.
func FuzzTable(f *testing.F) {
	f.Add([]byte(`{"lang": "py", "retries": 0, "timelimit": [null, 1.5], "stamps": {"a": [true]}, "big": 4294967296}`))
	f.Add([]byte(`{"a": {"__type__": "datetime", "__value__": "2026-11-29T14:00:00.5"}, "a": "\udcff"}`))
	f.Fuzz(func(t *testing.T, headers []byte) {
		first, err := table(headers)
		if err != nil {
			return
		}
		if err := first.Validate(); err != nil {
			t.Fatalf("%s: %v", headers, err)
		}
		text := appendTable(nil, first)
		if err := pyjson.Valid(text); err != nil {
			t.Fatalf("%s became %s: %v", headers, text, err)
		}
		second, err := table(text)
		if err != nil {
			t.Fatalf("%s became %s: %v", headers, text, err)
		}
		if again := appendTable(nil, second); string(again) != string(text) {
			t.Errorf("%s became %s, and then %s", headers, text, again)
		}
	})
}
