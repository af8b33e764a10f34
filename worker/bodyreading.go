package worker

import (
	"context"
	"errors"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// bodyReading holds the requests whose headers are in a body that only an executor can read.
type bodyReading struct {
	*large
	reader BodyReader
	intake *intake
}

// newBodyReading returns nil if no executor reads bodies.
func newBodyReading(in *intake, executors map[string]ExecutorConfig) *bodyReading {
	for _, e := range executors {
		if reader, ok := e.Executor.(BodyReader); ok {
			b := &bodyReading{reader: reader, intake: in}
			b.large = newLarge(b.decode)
			return b
		}
	}
	return nil
}

// needsTelling tells of a message that was read that it does not say what it is without its
// body, and that its serializer is not enough to read that here.
func needsTelling(task *protocol.Task, err error) bool {
	return (task == nil || task.ID == "") && err != nil && errors.As(err, new(*protocol.UnreadableError))
}

// decode decodes a request that intake has counted.
func (b *bodyReading) decode(ctx context.Context, r *request) {
	in := b.intake
	task, err := b.tell(ctx, r.content)
	if ctx.Err() != nil {
		in.giveBack(r)
	} else {
		in.decoded(r, task, err, true)
	}
	in.runner.goroutines().backlog.reserve(-1)
}

// tell has a message read.
func (b *bodyReading) tell(ctx context.Context, message broker.Content) (*protocol.Task, error) {
	body, err := b.reader.ReadBody(ctx, message)
	if err != nil {
		return nil, &protocol.DecodeError{Field: "body", Err: err}
	}
	var m protocol.Received
	message.Read(&m)
	return b.intake.decoder.DecodeTold(&m, body)
}
