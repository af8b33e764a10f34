package protocol

import (
	"errors"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// ControlRequest is a command to workers (kombu/pidbox.py: Mailbox._publish).
type ControlRequest struct {
	Method      string
	Arguments   []byte          // raw JSON object of keyword arguments; nil: none
	Destination []string        // node names; empty: see Pattern
	Pattern     string          // what node names must match; "": every node is meant
	Matcher     string          // how: "glob" or "pcre"
	Ticket      string          // names the request in its replies
	ReplyTo     *ControlAddress // nil: no reply is wanted
	Clock       int64           // the requester's logical clock
	Expires     time.Time       // when the requester stops waiting; zero: it does not wait
}

// ControlAddress is where replies go.
type ControlAddress struct{ Exchange, RoutingKey string }

// ControlReply is the answer of one node (kombu/pidbox.py: Mailbox._publish_reply).
type ControlReply struct {
	Node   string
	Value  []byte // raw JSON
	Ticket string // of the request
	Clock  int64
}

// DecodeControlRequest reads a request as it is broadcast. It shares the memory of m.
func (d *Decoder) DecodeControlRequest(m *Received) (*ControlRequest, error) {
	headers, body, err := d.controlBody(m)
	if err != nil {
		return nil, err
	}
	r := &ControlRequest{}
	readControlHeaders(headers, func(name string, s *pyjson.Scanner) {
		switch name {
		case "clock":
			r.Clock = wholeNumber(s.Value())
		case "expires":
			r.Expires = unixTime(s.Value())
		}
	})
	s := pyjson.NewScanner(body)
	if !s.Enter('{') {
		return nil, &DecodeError{"body", errors.Join(errors.New("not a JSON object"), s.End())}
	}
	for s.Next() {
		r.member(string(s.Key()), &s)
	}
	if err := s.End(); err != nil {
		return nil, &DecodeError{"body", err}
	}
	switch {
	case r.Method == "":
		return nil, &DecodeError{"body.method", errMissing}
	case r.Arguments != nil && pyjson.Kind(r.Arguments) != '{':
		return nil, &DecodeError{"body.arguments", errors.New("not a JSON object")}
	}
	return r, nil
}

func (r *ControlRequest) member(name string, s *pyjson.Scanner) {
	switch name {
	case "method":
		r.Method = string(s.Scalar())
	case "arguments":
		if r.Arguments = s.Value(); pyjson.Kind(r.Arguments) == 'n' {
			r.Arguments = nil
		}
	case "destination":
		r.Destination = nil
		if s.Enter('[') {
			for s.Next() {
				r.Destination = append(r.Destination, string(s.Scalar()))
			}
		}
	case "pattern":
		r.Pattern = string(s.Scalar())
	case "matcher":
		r.Matcher = string(s.Scalar())
	case "ticket":
		r.Ticket = string(s.Scalar())
	case "reply_to":
		r.ReplyTo = nil
		if s.Enter('{') {
			r.ReplyTo = &ControlAddress{}
			for s.Next() {
				switch string(s.Key()) {
				case "exchange":
					r.ReplyTo.Exchange = string(s.Scalar())
				case "routing_key":
					r.ReplyTo.RoutingKey = string(s.Scalar())
				}
			}
		}
	}
}

// DecodeControlReply reads the message of one node's reply.
func (d *Decoder) DecodeControlReply(m *Received) (*ControlReply, error) {
	headers, body, err := d.controlBody(m)
	if err != nil {
		return nil, err
	}
	r := &ControlReply{}
	readControlHeaders(headers, func(name string, s *pyjson.Scanner) {
		switch name {
		case "clock":
			r.Clock = wholeNumber(s.Value())
		case "ticket":
			r.Ticket = string(s.Scalar())
		}
	})
	s := pyjson.NewScanner(body)
	if !s.Enter('{') {
		return nil, &DecodeError{"body", errors.Join(errors.New("not a JSON object"), s.End())}
	}
	for s.Next() {
		r.Node = string(s.Key())
		r.Value = s.Value()
	}
	if err := s.End(); err != nil {
		return nil, &DecodeError{"body", err}
	}
	if r.Value == nil {
		return nil, &DecodeError{"body", errMissing}
	}
	return r, nil
}

// controlBody returns the parts of a message.
func (d *Decoder) controlBody(r *Received) (headers, body []byte, err error) {
	if r.Err != nil {
		return nil, nil, r.Err
	}
	contentType := string(r.ContentType)
	if contentType != "" && !d.Accept.Accepts(contentType) {
		return nil, nil, &ContentDisallowedError{ContentType: contentType}
	}
	body, err = d.content(&wrapped{text: r.Body, unwrap: r.Unwrap, compression: string(r.Headers.compression)}, contentType)
	return r.Headers.raw, body, err
}

func readControlHeaders(raw []byte, member func(name string, s *pyjson.Scanner)) {
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		return
	}
	for s.Next() {
		member(string(s.Key()), &s)
	}
}
