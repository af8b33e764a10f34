package events

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// Producer makes the events of a process that sends tasks and is no worker. It is safe
// for concurrent use.
type Producer struct {
	source *source
	clock  atomic.Int64
}

// NewProducer returns a producer of events for event_exchange; "" is the default.
func NewProducer(exchange string) *Producer {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return &Producer{source: newSource(producerName(host), exchange)}
}

// TaskSent returns the message of task-sent, which is to be published after the task's own.
func (p *Producer) TaskSent(task *protocol.Task) broker.Publication {
	now := time.Now()
	body := end(sentFields(p.source.begin(nil, now, p.clock.Add(1)), task), "task-sent", now)
	return p.source.message("task.sent", body)
}
