package protocol

import (
	"encoding/base64"
	"strconv"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// Encode writes the request as kombu does, for a fanout exchange.
func (r *ControlRequest) Encode(exchange string) []byte {
	body := append([]byte(`{"method": `), pyjson.AppendString(nil, r.Method)...)
	body = append(body, `, "arguments": `...)
	body = appendRaw(body, r.Arguments, "{}")
	body = append(body, `, "destination": `...)
	if r.Destination == nil {
		body = append(body, "null"...)
	} else {
		body = appendStrings(body, r.Destination)
	}
	body = append(body, `, "pattern": `...)
	body = appendText(body, r.Pattern)
	body = append(body, `, "matcher": `...)
	body = appendText(body, r.Matcher)
	if r.ReplyTo != nil {
		body = append(body, `, "ticket": `...)
		body = pyjson.AppendString(body, r.Ticket)
		body = append(body, `, "reply_to": {"exchange": `...)
		body = pyjson.AppendString(body, r.ReplyTo.Exchange)
		body = append(body, `, "routing_key": `...)
		body = pyjson.AppendString(body, r.ReplyTo.RoutingKey)
		body = append(body, '}')
	}
	body = append(body, '}')

	headers := strconv.AppendInt([]byte(`{"clock": `), r.Clock, 10)
	headers = append(headers, `, "expires": `...)
	if r.Expires.IsZero() {
		headers = append(headers, '0')
	} else {
		headers = strconv.AppendFloat(headers, float64(r.Expires.UnixMicro())/1e6, 'f', -1, 64)
	}
	headers = append(headers, '}')
	message, err := controlEnvelope(headers, body, 2, ControlAddress{Exchange: exchange}, nil)
	if err != nil { // JSON needs no translation
		panic(err)
	}
	return message
}

// Encode writes the reply as kombu does, with the serializer of task_serializer; nil: JSON.
// The error says which value has no form in it.
func (r *ControlReply) Encode(to ControlAddress, serializer Serializer) ([]byte, error) {
	body := appendRaw(pyjson.AppendKey([]byte{'{'}, r.Node), r.Value, "null")
	body = append(body, '}')
	headers := append([]byte(`{"ticket": `), appendText(nil, r.Ticket)...)
	headers = append(headers, `, "clock": `...)
	headers = strconv.AppendInt(headers, r.Clock, 10)
	headers = append(headers, '}')
	return controlEnvelope(headers, body, 1, to, serializer)
}

// controlEnvelope wraps a body given as JSON. The delivery mode has no meaning in Redis.
func controlEnvelope(headers, body []byte, deliveryMode int, to ControlAddress, serializer Serializer) ([]byte, error) {
	format := Format{Serializer: serializer}
	body, err := format.encode(body)
	if err != nil {
		return nil, err
	}
	dst := make([]byte, 0, 512+base64.StdEncoding.EncodedLen(len(body)))
	dst = append(dst, `{"body": "`...)
	dst = base64.StdEncoding.AppendEncode(dst, body)
	dst = append(dst, `", "content-encoding": `...)
	dst = pyjson.AppendString(dst, format.contentEncoding())
	dst = append(dst, `, "content-type": `...)
	dst = pyjson.AppendString(dst, format.contentType())
	dst = append(dst, `, "headers": `...)
	dst = append(dst, headers...)
	dst = append(dst, `, "properties": {"delivery_mode": `...)
	dst = strconv.AppendInt(dst, int64(deliveryMode), 10)
	dst = append(dst, `, "delivery_info": {"exchange": `...)
	dst = pyjson.AppendString(dst, to.Exchange)
	dst = append(dst, `, "routing_key": `...)
	dst = pyjson.AppendString(dst, to.RoutingKey)
	dst = append(dst, `}, "priority": 0, "body_encoding": "base64", "delivery_tag": `...)
	dst = pyjson.AppendString(dst, NewID())
	return append(dst, "}}"...), nil
}

// wholeNumber reads what should be an integer; anything else counts as 0.
func wholeNumber(raw []byte) (n int64) {
	if pyjson.Unmarshal(raw, &n) != nil {
		return 0
	}
	return n
}

// unixTime reads seconds since the epoch; 0 and what is no number are the zero time.
func unixTime(raw []byte) time.Time {
	var seconds float64
	if pyjson.Unmarshal(raw, &seconds) != nil || !(seconds > 0 && seconds < 1e11) {
		return time.Time{}
	}
	return time.UnixMicro(int64(seconds * 1e6))
}
