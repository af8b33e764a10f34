package amqpbroker

import (
	"maps"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// republication is a message that was delivered, as it is to be published again, byte for
// byte but for what the broker itself has noted in its headers: by those of an earlier
// dead-lettering RabbitMQ would take it for one that goes in a circle, and drop it.
func republication(d *amqp.Delivery) amqp.Publishing {
	return amqp.Publishing{
		Headers: withoutNotes(d.Headers), ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
		DeliveryMode: d.DeliveryMode, Priority: d.Priority, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo,
		Expiration: d.Expiration, MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId,
		Body: d.Body, // the user id is left out: it must be that of the connection
	}
}

// withoutNotes returns headers without what the broker has noted there.
func withoutNotes(headers amqp.Table) amqp.Table {
	noted := false
	for name := range headers {
		noted = noted || isNote(name)
	}
	if !noted {
		return headers
	}
	rest := make(amqp.Table, len(headers))
	for name, value := range headers {
		if !isNote(name) {
			rest[name] = value
		}
	}
	return rest
}

// with returns headers with a table that another worker of ours is to find.
func with(headers amqp.Table, name string, found amqp.Table) amqp.Table {
	all := maps.Clone(headers)
	if all == nil {
		all = amqp.Table{}
	}
	all[name] = found
	return all
}

// isNote tells whether RabbitMQ has written a header. The count of redeliveries is that of
// another queue, or of this one before the message was given up.
func isNote(header string) bool {
	rest, of := strings.CutPrefix(header, "x-")
	return of && (rest == "death" || rest == "delivery-count" || rest == "acquired-count" ||
		strings.HasPrefix(rest, "first-death-") || strings.HasPrefix(rest, "last-death-"))
}
