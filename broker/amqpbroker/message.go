package amqpbroker

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// content is a message as it was delivered. Its texts are put behind each other, once, so that reading
// it costs no memory.
func content(d *amqp.Delivery) broker.Content {
	m := received{body: d.Body, redelivered: d.Redelivered, priority: int(d.Priority)}
	text := make([]byte, 0, 1024)
	next := func(s string) []byte {
		start := len(text)
		text = append(text, s...)
		return text[start:len(text):len(text)]
	}
	if d.Headers != nil {
		text = appendTable(text, d.Headers)
		m.headers = text[:len(text):len(text)]
	}
	start := len(text)
	text = appendProperties(text, d)
	m.properties = text[start:len(text):len(text)]
	m.contentType, m.contentEncoding = next(d.ContentType), next(d.ContentEncoding)
	if d.ContentType == "" {
		m.contentType = nil
	}
	m.exchange, m.routingKey = next(d.Exchange), next(d.RoutingKey)
	m.correlationID, m.replyTo = next(d.CorrelationId), next(d.ReplyTo)
	return broker.Content{Size: len(text) + len(d.Body), Open: m.open}
}

// received is a delivery in the texts that a protocol.Received consists of.
type received struct {
	headers, properties          []byte // JSON objects; nil: there are no headers
	contentType, contentEncoding []byte
	exchange, routingKey         []byte
	correlationID, replyTo       []byte
	body                         []byte
	redelivered                  bool
	priority                     int
}

func (m *received) open(_ []byte, r *protocol.Received) {
	*r = protocol.Received{
		ContentType: m.contentType, ContentEncoding: m.contentEncoding, Body: m.body,
		Exchange: m.exchange, RoutingKey: m.routingKey, Redelivered: m.redelivered,
		CorrelationID: m.correlationID, ReplyTo: m.replyTo, Priority: m.priority, Properties: m.properties,
	}
	if m.headers == nil {
		return
	}
	s := pyjson.NewScanner(m.headers)
	r.Headers.Read(&s, m.headers)
	if err := s.End(); err != nil { // deeper than Python reads
		r.Err = &protocol.DecodeError{Field: "headers", Err: err}
	}
}

// appendProperties appends the properties as py-amqp names them, a JSON object. What is missing is
// missing there, too.
func appendProperties(dst []byte, d *amqp.Delivery) []byte {
	dst = append(dst, '{')
	text := func(name, value string) {
		if value != "" {
			dst = pyjson.AppendString(pyjson.AppendKey(dst, name), value)
		}
	}
	number := func(name string, value int64) {
		dst = strconv.AppendInt(pyjson.AppendKey(dst, name), value, 10)
	}
	text("correlation_id", d.CorrelationId)
	text("reply_to", d.ReplyTo)
	if mode := d.DeliveryMode &^ rabbitconn.PriorityGiven; mode != 0 {
		number("delivery_mode", int64(mode))
	}
	text("expiration", d.Expiration)
	if d.Priority > 0 || d.DeliveryMode&rabbitconn.PriorityGiven != 0 {
		number("priority", int64(d.Priority))
	}
	text("message_id", d.MessageId)
	if !d.Timestamp.IsZero() {
		number("timestamp", d.Timestamp.Unix())
	}
	text("type", d.Type)
	text("user_id", d.UserId)
	text("app_id", d.AppId)
	return append(dst, '}')
}

// publishing is a message as it is published by a user. The error says what of it AMQP has no form for.
func publishing(m *protocol.Message, user string) (amqp.Publishing, error) {
	p := amqp.Publishing{
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Body: m.Body,
		CorrelationId: m.Properties.CorrelationID, ReplyTo: m.Properties.ReplyTo,
	}
	var err error
	if m.Headers != nil {
		if p.Headers, err = table(m.Headers); err != nil {
			return p, &protocol.DecodeError{Field: "headers", Err: err}
		}
	}
	if p.DeliveryMode, err = octet("delivery_mode", m.Properties.DeliveryMode, int(amqp.Persistent)); err != nil {
		return p, err
	}
	if p.Priority, err = octet("priority", m.Properties.Priority, math.MaxUint8); err != nil {
		return p, err
	}
	if !m.Properties.NoPriority && p.DeliveryMode != 0 {
		p.DeliveryMode |= rabbitconn.PriorityGiven
	}
	if e := m.Properties.Expiration; e != 0 && e.Milliseconds() <= longestExpiration {
		p.Expiration = strconv.FormatInt(max(0, e.Milliseconds()), 10)
	}
	for name, value := range pyjson.Members(m.Properties.Others) {
		setProperty(&p, name, value, user)
	}
	return p, fits(&p)
}

// longestExpiration is how many milliseconds RabbitMQ takes; with more it closes the channel. Who gets
// the message looks at its header expires.
const longestExpiration = math.MaxUint32

func octet(name string, n, most int) (uint8, error) {
	if n < 0 || n > most {
		return 0, fmt.Errorf("%s is %d, and must be between 0 and %d", name, n, most)
	}
	return uint8(n), nil //nolint:gosec // it has been looked at
}

// setProperty sets a property that AMQP has and Celery does not use. As with py-amqp, there are no others. A
// message that was another user's is published as nobody's: RabbitMQ refuses a false name.
func setProperty(p *amqp.Publishing, name string, raw []byte, user string) {
	s := pyjson.NewScanner(raw)
	text := string(s.Scalar())
	switch name {
	case "message_id":
		p.MessageId = text
	case "type":
		p.Type = text
	case "app_id":
		p.AppId = text
	case "user_id":
		if text == user {
			p.UserId = text
		}
	case "timestamp":
		if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
			p.Timestamp = time.Unix(seconds, 0)
		} else {
			_ = pyjson.Unmarshal(raw, &p.Timestamp) // a datetime, or none
		}
	}
}

// fits tells what is too long. The library would find out in the midst of a frame, and give up the connection.
func fits(p *amqp.Publishing) error {
	for _, text := range []struct{ name, value string }{
		{"content_type", p.ContentType},
		{"content_encoding", p.ContentEncoding},
		{"correlation_id", p.CorrelationId},
		{"reply_to", p.ReplyTo},
		{"message_id", p.MessageId},
		{"type", p.Type},
		{"app_id", p.AppId},
	} {
		if len(text.value) > rabbitconn.LongestText {
			return fmt.Errorf("%s %.40q… has %d bytes; AMQP allows for %d", text.name, text.value, len(text.value), rabbitconn.LongestText)
		}
	}
	if err := p.Headers.Validate(); err != nil {
		return errors.New("headers: " + err.Error())
	}
	return nil
}
