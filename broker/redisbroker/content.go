package redisbroker

import (
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
)

// content is a message of which a worker reads what it needs, when it needs it. What is given
// back, forwarded or buried is its envelope, byte for byte.
func content(raw []byte) broker.Content {
	return broker.Content{Raw: raw, Size: len(raw), Open: envelope.Open}
}

// read reads an envelope.
func read(raw []byte) *protocol.Received {
	m := new(protocol.Received)
	envelope.Open(raw, m)
	return m
}

// wrap makes the envelope of a message. Every one that is published has a name of its own.
func wrap(m *broker.Publication) []byte {
	dst := make([]byte, 0, envelope.Size(&m.Message))
	return envelope.Append(dst, &m.Message, m.Exchange, m.RoutingKey, protocol.NewID())
}

// argument is the envelope of a message as a Pipeline sends it: of a large one it is made only while it is sent.
func argument(m *broker.Publication) any {
	if len(m.Message.Body) < redisconn.StreamFrom {
		return wrap(m)
	}
	size, pieces := envelope.Pieces(&m.Message, m.Exchange, m.RoutingKey, protocol.NewID())
	return redisconn.Stream{Size: size, Pieces: pieces}
}

// priorityOf is the priority of a message; what cannot be read has none.
func priorityOf(m *protocol.Received) int {
	if m.Err != nil {
		return 0
	}
	return m.Priority
}
