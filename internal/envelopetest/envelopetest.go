// Package envelopetest reads and writes kombu's envelopes, for tests.
package envelopetest

import (
	"fmt"

	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/protocol"
)

// New returns an envelope as Celery writes it, with a correct tag and body.
func New(queue, id string, priority int) []byte {
	return fmt.Appendf(nil, `{"body": "W1tdLCB7fSwgeyJjYWxsYmFja3MiOiBudWxsfV0=", "content-encoding": "utf-8", `+
		`"content-type": "application/json", "headers": {"lang": "py", "task": "t", "id": %q}, `+
		`"properties": {"correlation_id": %q, "reply_to": "r", "delivery_mode": 2, `+
		`"delivery_info": {"exchange": "", "routing_key": %q}, "priority": %d, "body_encoding": "base64", `+
		`"delivery_tag": %q}}`, id, id, queue, priority, id)
}

// Open reads an envelope; what is wrong with it is in Err.
func Open(raw []byte) *protocol.Received {
	r := new(protocol.Received)
	envelope.Open(raw, r)
	return r
}

// Message returns the message in an envelope. It panics if there is none.
func Message(raw []byte) protocol.Message {
	r := Open(raw)
	m, err := r.Message()
	if r.Err != nil || err != nil {
		panic(fmt.Sprintf("%s: %v, %v", raw, r.Err, err))
	}
	return m
}

// DecodeTask reads the task in an envelope with a Decoder that has this accept list and
// knows neither other serializers than JSON nor compression.
func DecodeTask(raw []byte, accept protocol.Accept) (*protocol.Task, error) {
	d := protocol.Decoder{Accept: accept}
	return d.Decode(Open(raw))
}

// Encode returns the envelope of a message.
func Encode(m protocol.Message, exchange, routingKey, tag string) []byte {
	return envelope.Append(nil, &m, exchange, routingKey, tag)
}
