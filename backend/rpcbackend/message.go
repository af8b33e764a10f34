package rpcbackend

import (
	"cmp"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/serializer"
)

// message is a record on its way.
type message struct {
	taskID     string
	replyTo    string
	publishing amqp.Publishing
}

// asKombu has messages sent with a priority of 0 and empty headers.
const asKombu = rabbitconn.PriorityGiven | rabbitconn.HeadersGiven

// messages makes messages of records. refused is about single ones.
func (s *Sender) messages(records []backend.Record) (messages []message, refused []error) {
	messages = make([]message, 0, len(records))
	for i := range records {
		r := &records[i]
		m := message{taskID: r.TaskID}
		var correlationID string
		m.replyTo, correlationID = r.Address()
		if m.replyTo == "" {
			continue
		}
		body, err := r.Encoded, error(nil)
		switch {
		case len(m.replyTo) > rabbitconn.LongestText || len(correlationID) > rabbitconn.LongestText:
			err = fmt.Errorf("reply_to or correlation_id has more than %d bytes", rabbitconn.LongestText)
		case body == nil:
			body, err = s.serializer.EncodeRecord(r.Document)
		}
		if err != nil {
			refused = append(refused, &backend.RecordError{TaskID: r.TaskID, Err: err})
			continue
		}
		contentType, contentEncoding := protocol.ContentTypeJSON, "utf-8"
		if s.serializer != nil {
			contentType, contentEncoding = s.serializer.ContentType(), s.serializer.ContentEncoding()
		}
		m.publishing = amqp.Publishing{
			ContentType: contentType, ContentEncoding: contentEncoding, DeliveryMode: s.deliveryMode | asKombu, CorrelationId: correlationID, Body: body,
		}
		messages = append(messages, m)
	}
	return messages, refused
}

// record is what came: whose record it is, and what it says. unreadable says why it does not say anything.
func record(d *amqp.Delivery) (taskID string, document []byte, unreadable error) {
	s, err := serializer.Lookup(cmp.Or(d.ContentType, protocol.ContentTypeJSON))
	if err != nil {
		return d.CorrelationId, nil, fmt.Errorf("content type %s: %w", d.ContentType, err)
	}
	document = d.Body
	if s != nil {
		if document, err = s.RecordToJSON(d.Body); err != nil {
			return d.CorrelationId, nil, fmt.Errorf("in serializer %s: %w", s.Name(), err)
		}
	}
	// The correlation id is the caller's to choose.
	result, err := protocol.DecodeResult(document)
	if err != nil {
		return d.CorrelationId, nil, err
	}
	taskID = cmp.Or(result.TaskID, d.CorrelationId)
	if taskID == "" {
		return "", nil, errors.New("it does not say whose it is")
	}
	return taskID, document, nil
}
