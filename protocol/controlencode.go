package protocol

import (
	"strconv"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// EncodeIn makes the request's message in a serializer, nil: JSON.
func (r *ControlRequest) EncodeIn(serializer Serializer) (Message, error) {
	m := r.Encode()
	format := Format{Serializer: serializer}
	var err error
	m.Body, err = format.encode(m.Body)
	m.ContentType, m.ContentEncoding = format.contentType(), format.contentEncoding()
	return m, err
}

// Encode makes the request's message as kombu does.
func (r *ControlRequest) Encode() Message {
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
	return Message{
		Headers: append(headers, '}'), Body: body, ContentType: ContentTypeJSON, ContentEncoding: "utf-8",
		Properties: Properties{DeliveryMode: 2},
	}
}

// Encode makes the reply's message as kombu does, with the serializer of task_serializer;
// nil: JSON. The error says which value has no form in it.
func (r *ControlReply) Encode(serializer Serializer) (Message, error) {
	body := appendRaw(pyjson.AppendKey([]byte{'{'}, r.Node), r.Value, "null")
	body = append(body, '}')
	headers := append([]byte(`{"ticket": `), appendText(nil, r.Ticket)...)
	headers = append(headers, `, "clock": `...)
	headers = strconv.AppendInt(headers, r.Clock, 10)
	format := Format{Serializer: serializer}
	body, err := format.encode(body)
	if err != nil {
		return Message{}, err
	}
	return Message{
		Headers: append(headers, '}'), Body: body,
		ContentType: format.contentType(), ContentEncoding: format.contentEncoding(),
		Properties: Properties{DeliveryMode: 1},
	}, nil
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
