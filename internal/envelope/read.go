// Package envelope is kombu's message as it lies in Redis: a JSON object around the headers,
// properties and body, which is base64.
package envelope

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// Open reads an envelope in one pass, without looking into its body. What makes a Python
// consumer exit (no properties, no delivery tag, no delivery info) is a *protocol.DecodeError.
func Open(raw []byte, r *protocol.Received) {
	*r = protocol.Received{}
	var e envelope
	if err := e.read(raw, r); err != nil {
		*r = protocol.Received{Err: err}
		return
	}
	r.Unwrap = e.unwrapper()
	r.Priority = protocol.Priority(e.priority, e.infoPriority)
	r.Err = e.check(r)
}

// envelope is what an envelope has that nobody else needs to know of, as parts of its text.
type envelope struct {
	bodyKind        byte // pyjson.Kind of the body, 0 when missing
	bodyEncoding    []byte
	propertiesKind  byte
	deliveryTagKind byte
	infoKind        byte // of delivery_info
	hasExchange     bool
	hasRoutingKey   bool
	priority        []byte // raw
	infoPriority    []byte // raw; Celery 3.1
}

// read takes the whole envelope apart. Headers that are missing or null count as none.
func (e *envelope) read(raw []byte, r *protocol.Received) error {
	if !utf8.Valid(raw) {
		return &protocol.DecodeError{Field: "envelope", Err: errors.New("invalid UTF-8")}
	}
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		if err := s.End(); err != nil {
			return &protocol.DecodeError{Field: "envelope", Err: err}
		}
		return &protocol.DecodeError{Field: "envelope", Err: errNoObject}
	}
	for s.Next() {
		switch string(s.Key()) {
		case "body":
			e.bodyKind = s.Kind()
			r.Body = s.Scalar()
		case "content-type":
			r.ContentType = s.Scalar()
		case "content-encoding":
			r.ContentEncoding = s.Scalar()
		case "headers":
			r.Headers.Read(&s, raw)
		case "properties":
			e.readProperties(&s, raw, r)
		}
	}
	if err := s.End(); err != nil {
		return &protocol.DecodeError{Field: "envelope", Err: err}
	}
	return nil
}

var (
	errNoObject = errors.New("not a JSON object")
	errMissing  = errors.New("missing")
)

// check finds what makes a Python consumer exit.
func (e *envelope) check(r *protocol.Received) error {
	switch {
	case !r.Headers.Valid():
		return &protocol.DecodeError{Field: "headers", Err: errNoObject}
	case e.propertiesKind == 0:
		return &protocol.DecodeError{Field: "properties", Err: errMissing}
	case e.propertiesKind != '{':
		return &protocol.DecodeError{Field: "properties", Err: errNoObject}
	case e.deliveryTagKind == 0:
		return &protocol.DecodeError{Field: "properties.delivery_tag", Err: errMissing}
	case e.infoKind != '{':
		return &protocol.DecodeError{Field: "properties.delivery_info", Err: errors.New("missing or not a JSON object")}
	case !e.hasExchange:
		return &protocol.DecodeError{Field: "properties.delivery_info.exchange", Err: errMissing}
	case !e.hasRoutingKey:
		return &protocol.DecodeError{Field: "properties.delivery_info.routing_key", Err: errMissing}
	case e.bodyKind != 0 && e.bodyKind != '"' && e.bodyKind != 'n':
		return &protocol.DecodeError{Field: "body", Err: errors.New("not a string")}
	}
	return nil
}

func (e *envelope) readProperties(s *pyjson.Scanner, raw []byte, r *protocol.Received) {
	start := s.Offset()
	*e = envelope{bodyKind: e.bodyKind, propertiesKind: s.Kind()}
	if !s.Enter('{') {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "delivery_tag":
			e.deliveryTagKind = s.Kind()
			r.DeliveryTag = s.Scalar()
		case "delivery_info":
			e.readInfo(s, r)
		case "body_encoding":
			e.bodyEncoding = s.Scalar()
		case "correlation_id":
			r.CorrelationID = s.Scalar()
		case "reply_to":
			r.ReplyTo = s.Scalar()
		case "priority":
			e.priority = s.Value()
		}
	}
	r.Properties = raw[start:s.Offset()]
}

func (e *envelope) readInfo(s *pyjson.Scanner, r *protocol.Received) {
	e.infoKind = s.Kind()
	if !s.Enter('{') {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "exchange":
			e.hasExchange = true
			r.Exchange = s.Scalar()
		case "routing_key":
			e.hasRoutingKey = true
			r.RoutingKey = s.Scalar()
		case "redelivered":
			r.Redelivered = s.Kind() == 't'
		case "priority":
			e.infoPriority = s.Value()
		}
	}
}

// unwrapper returns what undoes body_encoding; nil: there is nothing to undo.
func (e *envelope) unwrapper() func([]byte) ([]byte, error) {
	switch {
	case string(e.bodyEncoding) == "base64":
		return decodeBase64
	case len(e.bodyEncoding) == 0, bytes.EqualFold(e.bodyEncoding, []byte("utf-8")):
		return nil
	}
	err := &protocol.DecodeError{Field: "properties.body_encoding", Err: fmt.Errorf("unknown encoding %q", e.bodyEncoding)}
	return func([]byte) ([]byte, error) { return nil, err }
}

func decodeBase64(text []byte) ([]byte, error) {
	body := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(body, text)
	if err != nil {
		return nil, &protocol.DecodeError{Field: "body", Err: err}
	}
	return body[:n], nil
}
