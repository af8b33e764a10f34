package rabbitconn_test

import (
	"errors"
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
)

// What the server says of what it was asked has a code; why a connection is lost has none, also if the server says so.
func TestCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("no"), 0},
		{amqp.ErrClosed, 0},
		{&amqp.Error{Code: amqp.NotFound}, 0}, // the client's own
		{&amqp.Error{Code: amqp.NotFound, Server: true}, amqp.NotFound},
		{fmt.Errorf("bind: %w", &amqp.Error{Code: amqp.PreconditionFailed, Server: true}), amqp.PreconditionFailed},
		{&amqp.Error{Code: amqp.CommandInvalid, Server: true}, amqp.CommandInvalid}, // an exchange of an unknown type
		{&amqp.Error{Code: amqp.ConnectionForced, Server: true}, 0},
		{&amqp.Error{Code: amqp.ChannelError, Server: true}, 0},
	} {
		if got := rabbitconn.Code(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
