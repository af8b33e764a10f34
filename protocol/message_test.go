package protocol_test

import (
	"testing"

	"github.com/apium/apium/protocol"
)

// A received task is the same message again, whether its body has been read or not.
func TestTaskMessage(t *testing.T) {
	t.Parallel()
	sent, err := protocol.EncodeTask(&protocol.Task{Name: "a.b", ID: "1", RoutingKey: "q", Args: []byte("[1]")}, protocol.Publication{})
	if err != nil {
		t.Fatal(err)
	}
	var r protocol.Received
	r.Set(&sent, &protocol.Info{RoutingKey: "q"})
	var d protocol.Decoder
	task, err := d.DecodeHeaders(&r)
	if err != nil {
		t.Fatal(err)
	}
	for _, read := range []bool{false, true} {
		if read {
			if err := d.DecodeBody(task); err != nil {
				t.Fatal(err)
			}
		}
		got, err := task.Message()
		if err != nil || string(got.Body) != string(sent.Body) || string(got.Headers) != string(sent.Headers) || got.ContentType != sent.ContentType {
			t.Errorf("body read: %v; %v\n%s\n%s\nwant\n%s\n%s", read, err, got.Headers, got.Body, sent.Headers, sent.Body)
		}
	}
}
