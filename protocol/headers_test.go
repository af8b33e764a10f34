package protocol_test

import (
	"errors"
	"testing"
	"time"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
)

// counted counts how often the bodies of what it reads are unwrapped.
func counted(raw []byte, unwrapped *int) *protocol.Received {
	r := envelopetest.Open(raw)
	inner := r.Unwrap
	r.Unwrap = func(body []byte) ([]byte, error) {
		*unwrapped++
		if inner == nil {
			return body, nil
		}
		return inner(body)
	}
	return r
}

// What Celery sends says in its headers all that is to be known before a task runs: its body
// is read once, when that is asked for, and says the same as if all is read at once.
func TestDecodeHeaders(t *testing.T) {
	t.Parallel()
	n := 0
	for _, version := range captures(t) {
		for _, c := range load[[]messageCase](t, version, "messages.json") {
			for _, e := range c.Entries {
				whole, err := envelopetest.DecodeTask([]byte(e.Raw), protocol.Accept{})
				if err != nil || whole.Protocol != 2 {
					continue
				}
				n++
				unwrapped := 0
				var d protocol.Decoder
				task, err := d.DecodeHeaders(counted([]byte(e.Raw), &unwrapped))
				if err != nil || task.Args != nil || unwrapped != 0 {
					t.Fatalf("%s: %v; arguments %s, body read %d times", c.Call, err, task.Args, unwrapped)
				}
				if task.ID != whole.ID || !task.ETA.Equal(whole.ETA) || !task.Expires.Equal(whole.Expires) || task.ArgsRepr != whole.ArgsRepr {
					t.Errorf("%s: headers say %+v, want %+v", c.Call, task, whole)
				}
				for range 2 {
					if err := d.DecodeBody(task); err != nil {
						t.Fatal(err)
					}
				}
				if string(task.Args) != string(whole.Args) || string(task.Embed.Chain) != string(whole.Embed.Chain) || unwrapped != 1 {
					t.Errorf("%s: arguments %s, want %s; body read %d times", c.Call, task.Args, whole.Args, unwrapped)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d captured messages", n)
	}
}

// A body that cannot be read is no matter until the task is to run.
func TestDecodeHeadersOfABadBody(t *testing.T) {
	t.Parallel()
	var d protocol.Decoder
	task, err := d.DecodeHeaders(envelopetest.Open(message(`{"task": "a", "id": "1", "eta": null, "expires": null}`, `[1`)))
	if err != nil || task.Name != "a" {
		t.Fatalf("headers: %+v, %v", task, err)
	}
	var decode *protocol.DecodeError
	if err := d.DecodeBody(task); !errors.As(err, &decode) {
		t.Errorf("body: %v", err)
	}
}

// Where the headers do not say when a task is due, the body may.
func TestDecodeHeadersOfOtherProducers(t *testing.T) {
	t.Parallel()
	unwrapped := 0
	raw := message(`{"task": "a", "id": "1"}`, `{"args": [1], "kwargs": {}, "eta": "2030-01-02T03:04:05"}`)
	task, err := new(protocol.Decoder).DecodeHeaders(counted(raw, &unwrapped))
	if err != nil || !task.ETA.Equal(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)) || string(task.Args) != "[1]" {
		t.Errorf("%+v, %v", task, err)
	}
	if err := new(protocol.Decoder).DecodeBody(task); err != nil || unwrapped != 1 {
		t.Errorf("%v; body read %d times", err, unwrapped)
	}
}

// A message says the same after it was received and published again.
func TestReceivedMessage(t *testing.T) {
	t.Parallel()
	n := 0
	for _, c := range load[[]messageCase](t, newest, "messages.json") {
		for _, e := range c.Entries {
			received := envelopetest.Open([]byte(e.Raw))
			m, err := received.Message()
			if err != nil {
				t.Fatal(err)
			}
			n++
			got := envelopetest.Encode(m, string(received.Exchange), string(received.RoutingKey), string(received.DeliveryTag))
			if string(got) != e.Raw {
				t.Errorf("%s:\n got %s\nwant %s", c.Call, got, e.Raw)
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d messages", n)
	}
}
