package protocol

import (
	"errors"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
)

// envelope is a queue entry after one pass: parts of its text, no copies.
type envelope struct {
	raw         []byte
	body        []byte // what the string says
	bodyKind    byte   // pyjson.Kind of the body, 0 when missing
	contentType []byte // nil when missing
	encoding    []byte
	headers     headers
	properties  properties
}

// properties are the delivery properties, and what delivery_info adds.
type properties struct {
	raw             []byte
	kind            byte
	deliveryTag     []byte
	deliveryTagKind byte
	infoKind        byte // of delivery_info
	hasExchange     bool
	hasRoutingKey   bool
	exchange        []byte
	routingKey      []byte
	redelivered     bool
	bodyEncoding    []byte
	correlationID   []byte
	replyTo         []byte
	priority        []byte // raw
	infoPriority    []byte // raw; Celery 3.1
}

// read takes the whole envelope apart. Headers that are missing or null count as none.
func (e *envelope) read(raw []byte) error {
	e.raw = raw
	if !utf8.Valid(raw) {
		return &DecodeError{"envelope", errors.New("invalid UTF-8")}
	}
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		if err := s.End(); err != nil {
			return &DecodeError{"envelope", err}
		}
		return &DecodeError{"envelope", errors.New("not a JSON object")}
	}
	for s.Next() {
		switch string(s.Key()) {
		case "body":
			e.bodyKind = s.Kind()
			e.body = scalarText(&s)
		case "content-type":
			e.contentType = scalarText(&s)
		case "content-encoding":
			e.encoding = scalarText(&s)
		case "headers":
			e.headers.read(&s, raw)
		case "properties":
			e.properties.read(&s, raw)
		}
	}
	if err := s.End(); err != nil {
		return &DecodeError{"envelope", err}
	}
	return nil
}

// check finds what makes a Python consumer exit.
func (e *envelope) check() error {
	p := &e.properties
	switch {
	case e.headers.invalid():
		return &DecodeError{"headers", errors.New("not a JSON object")}
	case p.kind == 0:
		return &DecodeError{"properties", errMissing}
	case p.kind != '{':
		return &DecodeError{"properties", errors.New("not a JSON object")}
	case p.deliveryTagKind == 0:
		return &DecodeError{"properties.delivery_tag", errMissing}
	case p.infoKind != '{':
		return &DecodeError{"properties.delivery_info", errors.New("missing or not a JSON object")}
	case !p.hasExchange:
		return &DecodeError{"properties.delivery_info.exchange", errMissing}
	case !p.hasRoutingKey:
		return &DecodeError{"properties.delivery_info.routing_key", errMissing}
	case e.bodyKind != 0 && e.bodyKind != '"' && e.bodyKind != 'n':
		return &DecodeError{"body", errors.New("not a string")}
	}
	return nil
}

func (p *properties) read(s *pyjson.Scanner, raw []byte) {
	start := s.Offset()
	*p = properties{kind: s.Kind()}
	if !s.Enter('{') {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "delivery_tag":
			p.deliveryTagKind = s.Kind()
			p.deliveryTag = scalarText(s)
		case "delivery_info":
			p.readInfo(s)
		case "body_encoding":
			p.bodyEncoding = scalarText(s)
		case "correlation_id":
			p.correlationID = scalarText(s)
		case "reply_to":
			p.replyTo = scalarText(s)
		case "priority":
			p.priority = s.Value()
		}
	}
	p.raw = raw[start:s.Offset()]
}

func (p *properties) readInfo(s *pyjson.Scanner) {
	p.infoKind = s.Kind()
	if !s.Enter('{') {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "exchange":
			p.hasExchange = true
			p.exchange = scalarText(s)
		case "routing_key":
			p.hasRoutingKey = true
			p.routingKey = scalarText(s)
		case "redelivered":
			p.redelivered = s.Kind() == 't'
		case "priority":
			p.infoPriority = s.Value()
		}
	}
}

// level returns the priority, wherever the producer's version keeps it. What is no
// number counts as 0, as for kombu.
func (p *properties) level() int {
	for _, raw := range [][]byte{p.priority, p.infoPriority} {
		if n, ok := integer(raw); ok {
			return n
		}
	}
	return 0
}
