package rabbittest

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Channel opens a channel, as any client has it. It ends with the test.
func Channel(tb testing.TB, url string) *amqp.Channel {
	tb.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() }) // the test may have closed it
	ch, err := conn.Channel()
	if err != nil {
		tb.Fatal(err)
	}
	return ch
}
