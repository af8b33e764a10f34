package envelope

import (
	"encoding/base64"
	"iter"
	"slices"
	"strconv"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// Append writes the envelope of a message as kombu does. tag names the message: every one
// that is published needs its own.
func Append(dst []byte, m *protocol.Message, exchange, routingKey, tag string) []byte {
	dst = append(dst, head...)
	dst = base64.StdEncoding.AppendEncode(dst, m.Body)
	return appendTail(dst, m, exchange, routingKey, tag)
}

// Pieces is Append for messages whose envelope is not to be in memory as a whole: pieces yields its size bytes one
// after the other, as often as it is called. What it yields is overwritten by what it yields next.
func Pieces(m *protocol.Message, exchange, routingKey, tag string) (size int, pieces iter.Seq[[]byte]) {
	const portion = 96 << 10 // of a body, a multiple of 3
	body, tail := m.Body, appendTail(nil, m, exchange, routingKey, tag)
	pieces = func(yield func([]byte) bool) {
		buffer := make([]byte, 0, base64.StdEncoding.EncodedLen(min(portion, len(body))))
		if !yield([]byte(head)) {
			return
		}
		for part := range slices.Chunk(body, portion) {
			if !yield(base64.StdEncoding.AppendEncode(buffer, part)) {
				return
			}
		}
		yield(tail)
	}
	return len(head) + base64.StdEncoding.EncodedLen(len(body)) + len(tail), pieces
}

const head = `{"body": "`

// appendTail appends what comes after the body.
func appendTail(dst []byte, m *protocol.Message, exchange, routingKey, tag string) []byte {
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
