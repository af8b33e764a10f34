package protocol_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// celeryEvents are messages that a worker of Celery 5.7 has sent.
func celeryEvents(tb testing.TB) [][]byte {
	tb.Helper()
	raw, err := os.ReadFile("testdata/celery-5.7.0/events.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
}

// eventMessage wraps the body of an event as Celery does.
func eventMessage(body string) []byte {
	return fmt.Appendf(nil, `{"body": "%s", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"hostname": "w@h"}, `+
		`"properties": {"delivery_mode": 1, "delivery_info": {"exchange": "celeryev", "routing_key": "task.multi"}, "priority": 0, `+
		`"body_encoding": "base64", "delivery_tag": "t"}}`, base64.StdEncoding.EncodeToString([]byte(body)))
}

func TestDecodeCeleryEvents(t *testing.T) {
	t.Parallel()
	var d protocol.Decoder
	var got []string
	for _, raw := range celeryEvents(t) {
		events, err := d.DecodeEvents(envelopetest.Open(raw))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			got = append(got, fmt.Sprint(e.Text("hostname"), " ", e.Text("type"), " ", e.Number("pid"), " ", e.Text("uuid") != "", " ", e.Text("exception")))
		}
	}
	want := []string{
		"py@h worker-heartbeat 18984 false ",
		"py@h task-received 18984 true ",
		"py@h task-started 18984 true ",
		"py@h task-failed 18984 true ValueError('x')",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeEvents(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`[{"type": "task-started", "uuid": "a"}, {"type": "task-succeeded", "uuid": "b"}]`: "task-started,task-succeeded",
		`[{"type": "task-started"}, {"uuid": "b"}, 5, {"type": "task-failed"}]`:            "task-started,task-failed error",
		`[]`:              "",
		`{"type": "x"}`:   "x",
		`{"type": 5}`:     " error",
		`{"hostname": 1}`: " error",
		`5`:               " error",
		`[{"type": "x"}`:  "x error",
		``:                " error",
	} {
		var d protocol.Decoder
		events, err := d.DecodeEvents(envelopetest.Open(eventMessage(body)))
		var types []string
		for _, e := range events {
			types = append(types, e.Text("type"))
		}
		got := strings.Join(types, ",")
		if err != nil {
			got += " error"
		}
		if got != want {
			t.Errorf("%s: %q, %v; want %q", body, got, err, want)
		}
	}
}

func FuzzDecodeEvents(f *testing.F) {
	for _, raw := range celeryEvents(f) {
		f.Add(raw)
	}
	f.Add(eventMessage(`[{"type": "task-started"}, {"uuid": "b"}, 5]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d protocol.Decoder
		events, err := d.DecodeEvents(envelopetest.Open(raw))
		var decode *protocol.DecodeError
		var disallowed *protocol.ContentDisallowedError
		if err != nil && !errors.As(err, &decode) && !errors.As(err, &disallowed) {
			t.Fatalf("error of type %T: %v", err, err)
		}
		for _, e := range events {
			if e.Text("type") == "" {
				t.Fatal("an event without a type")
			}
			for name, value := range e {
				if pyjson.Valid(value) != nil {
					t.Fatalf("%s: %q is no JSON", name, value)
				}
			}
		}
	})
}
