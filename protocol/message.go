package protocol

import (
	"strconv"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// Message is what a broker carries, in no transport's form: how it is wrapped on its way is
// the transport's own business.
type Message struct {
	Headers         []byte // JSON object as Python's json writes it; nil: none
	Properties      Properties
	ContentType     string
	ContentEncoding string // "utf-8", or "binary"
	Body            []byte // as the serializer, and what compresses, have left it
}

// Properties are what is said about a message besides its headers.
type Properties struct {
	// CorrelationID and ReplyTo are those of tasks. If CorrelationID is "", neither is sent,
	// as with events and remote control.
	CorrelationID string
	ReplyTo       string
	// DeliveryMode is 1 for a message that need not survive the broker, and 2 for one that
	// must.
	DeliveryMode int
	// Expiration is for how long the message is of use; 0: for ever; negative: it is over.
	// In whole milliseconds.
	Expiration time.Duration
	Priority   int // 0 to 9, in the transport's meaning
	// NoPriority is for brokers that tell no priority from 0. Priority is 0 then.
	NoPriority bool
	// Others are further properties, a JSON object: options of the call that Celery does
	// not know. nil: none.
	Others []byte
}

// Size is how many bytes the message has, about.
func (m *Message) Size() int {
	return len(m.Headers) + len(m.Body) + len(m.Properties.Others)
}

// Text is the message for people to read: a JSON object.
func (m *Message) Text() []byte { return m.text(m.Properties.appendObject(nil)) }

func (m *Message) text(properties []byte) []byte {
	dst := append([]byte(`{"body": `), pyjson.AppendString(nil, string(m.Body))...)
	dst = pyjson.AppendString(append(dst, `, "content-type": `...), m.ContentType)
	dst = appendRaw(append(dst, `, "headers": `...), m.Headers, "{}")
	dst = append(append(dst, `, "properties": `...), properties...)
	return append(dst, '}')
}

// AppendMembers appends the members of a JSON object, in Celery's order, but for the
// priority, which stands further back there.
func (p *Properties) AppendMembers(dst []byte) []byte {
	if p.CorrelationID != "" {
		dst = pyjson.AppendString(pyjson.AppendKey(dst, "correlation_id"), p.CorrelationID)
		dst = pyjson.AppendString(pyjson.AppendKey(dst, "reply_to"), p.ReplyTo)
	}
	if len(p.Others) > len("{}") {
		dst = append(pyjson.AppendComma(dst), p.Others[1:len(p.Others)-1]...)
	}
	dst = pyjson.AppendKey(dst, "delivery_mode")
	dst = strconv.AppendInt(dst, int64(p.DeliveryMode), 10)
	if p.Expiration != 0 {
		dst = append(dst, `, "expiration": "`...)
		dst = strconv.AppendInt(dst, max(0, p.Expiration.Milliseconds()), 10)
		dst = append(dst, '"')
	}
	return dst
}

func (p *Properties) appendObject(dst []byte) []byte {
	dst = p.AppendMembers(append(dst, '{'))
	if p.NoPriority {
		return append(dst, '}')
	}
	dst = append(dst, `, "priority": `...)
	return append(strconv.AppendInt(dst, int64(p.Priority), 10), '}')
}

// Info is what a broker knows of a message it delivers: Celery's delivery_info.
type Info struct {
	Exchange    string
	RoutingKey  string
	Redelivered bool // it was given back after it had been claimed
}

// Priority reads the first of some raw JSON values that is a number; without any it is 0, as
// for kombu.
func Priority(raws ...[]byte) int {
	for _, raw := range raws {
		if n, ok := integer(raw); ok {
			return n
		}
	}
	return 0
}
