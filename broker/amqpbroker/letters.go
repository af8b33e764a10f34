package amqpbroker

import (
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// lettersQueue has the dead letters: messages as they were, with one more header. It is a classic
// queue, since who looks at letters gives them back, and quorum queues drop what was given back too
// often.
const lettersQueue = "apium.dlq"

// letterHeader is a table of what is known of a dead letter.
const letterHeader = "apium-letter"

func declareLetters(ch *amqp.Channel) error {
	_, err := ch.QueueDeclare(lettersQueue, true, false, false, false, amqp.Table{"x-queue-type": "classic"})
	return err
}

// withLetter returns headers with that of a dead letter.
func withLetter(headers amqp.Table, l *broker.DeadLetter, hostname string) amqp.Table {
	return with(headers, letterHeader, amqp.Table{
		"id": protocol.NewID(), "queue": l.Queue, "reason": l.Reason, "time": l.At.UnixMilli(), "hostname": hostname,
		"redeliveries": int64(l.Redeliveries),
	})
}
