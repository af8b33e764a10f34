package python

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// readWithin is how long a child may take to read a body. In a pool whose only process runs tasks, too, it
// may have to wait for these.
const readWithin = time.Minute

// ReadBody implements worker.BodyReader: what only Python can read, such as pickled objects of the
// app's classes, is read in a child that is there for calls.
func (p *pool) ReadBody(ctx context.Context, message broker.Content) ([]byte, error) {
	var received protocol.Received
	message.Read(&received)
	f, err := messageFrame(0, &received, false)
	if err != nil {
		return nil, err
	}
	head := append([]byte(`{"read": true, `), f.head[1:]...)
	if !p.kind.shared {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, readWithin, errors.New("no child has read it in time"))
		defer cancel()
	}
	a, err := p.calls.run(ctx, head, f.body)
	if err != nil {
		return nil, fmt.Errorf("a child of the app: %w", err)
	}
	return a.record, nil
}
