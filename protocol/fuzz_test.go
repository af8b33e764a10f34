package protocol_test

import (
	"bytes"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// FuzzDecodeTask checks that what was decoded can be published and says the same then.
func FuzzDecodeTask(f *testing.F) {
	for _, raw := range rawMessages(f) {
		f.Add(raw)
	}
	f.Add(message(`{"task": "a", "id": "1", "retries": " 2", "timelimit": ["10", ""], "ignore_result": 1}`, `[{"b": 1}, [], []]`))
	f.Add(message(`{"task": "a", "id": "1"}`, `["caf\udce9", {}, {"callbacks": 0}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		task, err := envelopetest.DecodeTask(raw, protocol.Accept{})
		if err != nil {
			if v := verdict(err); v != "ack" && v != "reject" && v != "unknown" {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		if task.ID == "" || task.RoutingKey == "" || task.Name == "" {
			return
		}
		m, err := protocol.EncodeTask(task, protocol.Publication{})
		if err != nil {
			t.Fatal(err)
		}
		again := envelopetest.Encode(m, task.Exchange, task.RoutingKey, "tag")
		second, err := envelopetest.DecodeTask(again, protocol.Accept{})
		if err != nil {
			t.Fatalf("%v in %s", err, again)
		}
		if second.Name != task.Name || second.ID != task.ID || !bytes.Equal(second.Args, task.Args) ||
			!bytes.Equal(second.Kwargs, task.Kwargs) || second.Retries != task.Retries {
			t.Fatalf("got %+v, want %+v", second, task)
		}
	})
}

func FuzzDecodeResult(f *testing.F) {
	for _, version := range captures(f) {
		for _, run := range load[[]resultRun](f, version, "results.json") {
			for _, c := range run.Tasks {
				for _, raw := range c.Records {
					f.Add([]byte(raw))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := protocol.DecodeResult(raw)
		if err != nil {
			return
		}
		first := r.Append(nil)
		second, err := protocol.DecodeResult(first)
		if err != nil {
			t.Fatalf("%v in %s", err, first)
		}
		if got := second.Append(nil); !bytes.Equal(got, first) {
			t.Fatalf("got %s, want %s", got, first)
		}
	})
}

func FuzzParseTime(f *testing.F) {
	for _, c := range load[textCases](f, newest, "texts.json").Dates {
		f.Add(c.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		moment, err := protocol.ParseTime(text, time.UTC)
		if err != nil {
			return
		}
		again, err := protocol.ParseTime(protocol.FormatTime(moment), nil)
		if err != nil || !again.Equal(moment) {
			t.Fatalf("%q is %v, written and read again %v, %v", text, moment, again, err)
		}
	})
}

func FuzzSafeRepr(f *testing.F) {
	for _, c := range load[textCases](f, newest, "texts.json").Reprs {
		f.Add([]byte(c.JSON))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		text := protocol.SafeRepr(raw)
		protocol.ArgsRepr(raw)
		if pyjson.Valid(raw) != nil {
			return
		}
		if utf8.Valid(raw) && !utf8.ValidString(text) {
			t.Fatalf("invalid UTF-8 in %q", text)
		}
		// One token more than the limit, its quotes and escapes, and what closes the containers.
		if n := utf8.RuneCountInString(text); n > 2*1024+100 {
			t.Fatalf("%d characters for %q", n, raw)
		}
	})
}
