package envelope

import (
	"encoding/base64"
	"strconv"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// Append writes the envelope of a message as kombu does. tag names the message: every one
// that is published needs its own.
func Append(dst []byte, m *protocol.Message, exchange, routingKey, tag string) []byte {
	dst = append(dst, `{"body": "`...)
	dst = base64.StdEncoding.AppendEncode(dst, m.Body)
	dst = append(dst, `", "content-encoding": `...)
	dst = pyjson.AppendString(dst, m.ContentEncoding)
	dst = append(dst, `, "content-type": `...)
	dst = pyjson.AppendString(dst, m.ContentType)
	dst = append(dst, `, "headers": `...)
	if m.Headers == nil {
		dst = append(dst, "{}"...)
	}
	dst = append(dst, m.Headers...)
	dst = append(dst, `, "properties": {`...)
	dst = m.Properties.AppendMembers(dst)
	dst = append(dst, `, "delivery_info": {"exchange": `...)
	dst = pyjson.AppendString(dst, exchange)
	dst = append(dst, `, "routing_key": `...)
	dst = pyjson.AppendString(dst, routingKey)
	dst = append(dst, `}, "priority": `...)
	dst = strconv.AppendInt(dst, int64(m.Properties.Priority), 10)
	dst = append(dst, `, "body_encoding": "base64", "delivery_tag": `...)
	return append(pyjson.AppendString(dst, tag), "}}"...)
}

// Opener returns what reads a message as [Open] reads the envelope that Append would write: but its body is there
// as it is.
func Opener(m protocol.Message, exchange, routingKey, tag string) func(_ []byte, r *protocol.Received) {
	body := m.Body
	m.Body = nil
	around := Append(make([]byte, 0, Size(&m)), &m, exchange, routingKey, tag)
	return func(_ []byte, r *protocol.Received) {
		Open(around, r)
		r.Body, r.Unwrap = body, nil
	}
}

// Size is how many bytes the envelope of a message has, at most, but for names of an unusual
// length.
func Size(m *protocol.Message) int {
	const besides = 512 // its own words, names and ids
	return base64.StdEncoding.EncodedLen(len(m.Body)) + len(m.Headers) + len(m.Properties.Others) + besides
}
