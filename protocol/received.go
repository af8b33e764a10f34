package protocol

import (
	"cmp"
	"strconv"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// Received is a message as it is read when it arrives. Its texts are parts of what the
// transport delivered, not copies: that must not change as long as they are in use. A
// Received that is used again costs no memory.
type Received struct {
	// Err is what is wrong with the message: it is no message, or one that makes a Python
	// consumer exit. What could be read of it is there nevertheless.
	Err error

	Headers         Headers
	ContentType     []byte // nil when missing
	ContentEncoding []byte

	// Body is the body, and Unwrap undoes what the transport has done to it; nil: nothing.
	Body   []byte
	Unwrap func(body []byte) ([]byte, error)

	DeliveryTag   []byte // who published it named it so; nil: that is not known
	Exchange      []byte
	RoutingKey    []byte
	Redelivered   bool
	CorrelationID []byte
	ReplyTo       []byte
	Priority      int
	Properties    []byte // all of them, a JSON object
}

// Text is the message for people to read: a JSON object.
func (r *Received) Text() []byte {
	body := r.Body
	if r.Unwrap != nil {
		if text, err := r.Unwrap(body); err == nil {
			body = text
		}
	}
	m := Message{Headers: r.Headers.raw, ContentType: string(r.ContentType), Body: body}
	return m.text(appendRaw(nil, r.Properties, "{}"))
}

// Set reads a message that a broker delivers in no other form.
func (r *Received) Set(m *Message, info *Info) {
	*r = Received{
		ContentType: []byte(m.ContentType), ContentEncoding: []byte(m.ContentEncoding), Body: m.Body,
		Exchange: []byte(info.Exchange), RoutingKey: []byte(info.RoutingKey), Redelivered: info.Redelivered,
		CorrelationID: []byte(m.Properties.CorrelationID), ReplyTo: []byte(m.Properties.ReplyTo),
		Priority: m.Properties.Priority, Properties: m.Properties.appendObject(nil),
	}
	if m.ContentType == "" {
		r.ContentType = nil
	}
	if m.Headers == nil {
		return
	}
	s := pyjson.NewScanner(m.Headers)
	r.Headers.Read(&s, m.Headers)
	if err := s.End(); err != nil {
		r.Err = &DecodeError{"headers", err}
	} else if !r.Headers.Valid() {
		r.Err = errHeaders
	}
}

// Message returns the message as it can be published again. The error is about what the
// transport has done to its body.
func (r *Received) Message() (Message, error) {
	m := Message{
		Headers: r.Headers.raw, ContentType: string(r.ContentType), ContentEncoding: string(r.ContentEncoding), Body: r.Body,
		Properties: Properties{CorrelationID: string(r.CorrelationID), ReplyTo: string(r.ReplyTo), Priority: r.Priority},
	}
	if r.Unwrap != nil {
		var err error
		if m.Body, err = r.Unwrap(r.Body); err != nil {
			return m, err
		}
	}
	s := pyjson.NewScanner(r.Properties)
	if !s.Enter('{') {
		return m, nil
	}
	m.Properties.NoPriority = r.Priority == 0
	for s.Next() {
		switch name := string(s.Key()); name {
		case "delivery_mode":
			m.Properties.DeliveryMode, _ = integer(s.Value())
		case "expiration":
			if ms, err := strconv.Atoi(string(s.Scalar())); err == nil {
				m.Properties.Expiration = cmp.Or(max(time.Duration(ms)*time.Millisecond, 0), -1)
			}
		case "priority":
			m.Properties.NoPriority = false
		case "correlation_id", "reply_to", "delivery_info", "body_encoding", "delivery_tag":
		default:
			m.Properties.other(name, s.Value())
		}
	}
	return m, nil
}

// other adds a property that has no field.
func (p *Properties) other(name string, value []byte) {
	if p.Others == nil {
		p.Others = []byte{'{'}
	} else {
		p.Others = p.Others[:len(p.Others)-1]
	}
	p.Others = append(append(pyjson.AppendKey(p.Others, name), value...), '}')
}
