package protocol_test

import (
	"reflect"
	"testing"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
)

// TestTakeBody: a task that takes the body of the one that is published is the one that its message is read as.
func TestTakeBody(t *testing.T) {
	t.Parallel()
	n := 0
	same := func(t *testing.T, what string, published *protocol.Task) {
		t.Helper()
		m, err := protocol.EncodeTask(published, protocol.Publication{})
		if err != nil {
			t.Fatal(what, err)
		}
		n++
		raw := envelopetest.Encode(m, published.Exchange, published.RoutingKey, "tag")
		var d protocol.Decoder
		whole, wholeErr := d.Decode(envelopetest.Open(raw))
		taken, err := d.DecodeHeaders(envelopetest.Open(raw))
		if err == nil {
			err = taken.TakeBody(published)
		}
		if (err == nil) != (wholeErr == nil) || err == nil && !reflect.DeepEqual(whole, taken) {
			t.Errorf("%s:\ntaken %+v, %v\nread  %+v, %v", what, taken, err, whole, wholeErr)
		}
	}
	for _, c := range load[[]messageCase](t, newest, "messages.json") {
		for _, e := range c.Entries {
			if task, err := envelopetest.DecodeTask([]byte(e.Raw), protocol.Accept{}); err == nil && task.Protocol == 2 {
				same(t, c.Call, task)
			}
		}
	}
	for _, body := range []protocol.Task{
		{},
		{Args: []byte("null")},
		{Args: []byte(`"ab"`)},
		{Args: []byte(`{"a": 1}`)},
		{Args: []byte("5")},
		{Args: []byte("[1,")},
		{Args: []byte("[NaN]")},
		{Args: []byte("[\"\xff\"]")},
		{Args: []byte(`[{"__type__": "uuid", "__value__": "x"}]`)},
		{Kwargs: []byte("[]")},
		{Kwargs: []byte("null")},
		{Kwargs: []byte("[1]")},
		{Kwargs: []byte(`{"a": 1`)},
		{Embed: protocol.Embed{Callbacks: []byte("[]"), Errbacks: []byte("null"), Chain: []byte("[]"), Chord: []byte("{}")}},
	} {
		body.Name, body.ID, body.RoutingKey = "shop.add", "i", "celery"
		same(t, string(body.Args)+" "+string(body.Kwargs), &body)
	}
	_, inset := withInset("1, ", "", "2", `"a"`)
	same(t, "an inset", inset)
	if n < 40 {
		t.Errorf("only %d tasks", n)
	}
}
