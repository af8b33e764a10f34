package worker

import (
	"sync"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// received are used again: reading a message's headers then costs no memory.
var received = sync.Pool{New: func() any { return new(protocol.Received) }}

// read reads the headers of a task's message into t.
func read(decoder *protocol.Decoder, c broker.Content, t *protocol.Task) (*protocol.Task, error) {
	m, _ := received.Get().(*protocol.Received)
	c.Read(m)
	task, err := decoder.DecodeHeadersInto(t, m)
	*m = protocol.Received{} // it does not keep the message in memory
	received.Put(m)
	return task, err
}
