package worker

import (
	"sync"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// received are used again: reading a message's headers then costs no memory.
var received = sync.Pool{New: func() any { return new(protocol.Received) }}

// read reads the headers of a task's message.
func read(decoder *protocol.Decoder, c broker.Content) (*protocol.Task, error) {
	m, _ := received.Get().(*protocol.Received)
	c.Read(m)
	task, err := decoder.DecodeHeaders(m)
	*m = protocol.Received{} // it does not keep the message in memory
	received.Put(m)
	return task, err
}
