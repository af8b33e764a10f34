package metrics

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/protocol"
)

const (
	// maxNamed bounds the pairs of task and queue counted apart, maxName the bytes of a
	// name: messages may name any.
	maxNamed = 1000
	maxName  = 256
)

// named counts messages by names that come from messages, not from the registry.
type named struct {
	total *prometheus.CounterVec

	mu     sync.Mutex // guards series
	series map[seriesKey]prometheus.Counter
}

func newNamed(opts prometheus.CounterOpts) *named {
	return &named{
		total:  prometheus.NewCounterVec(opts, []string{"name", "queue_name"}),
		series: map[seriesKey]prometheus.Counter{},
	}
}

// newSent counts the messages a worker publishes.
func newSent(host string) *named {
	return newNamed(prometheus.CounterOpts{
		Name: "celery_task_sent_total", Help: "Sent when a task message is published.",
		ConstLabels: prometheus.Labels{"hostname": host},
	})
}

// TaskSent counts a task that the worker has published. celery-exporter counts those of
// producers that send task-sent events (task_send_sent_event).
func (m *Metrics) TaskSent(task *protocol.Task) {
	queue := task.RoutingKey
	if task.Exchange != "" { // which queues it leads to, only its bindings say
		queue = unregistered
	}
	m.sent.count(task.Name, queue)
}

func (s *named) count(name, queue string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := seriesKey{queue: queue, name: name}
	counter := s.series[key]
	if counter == nil {
		const odd = "\uFFFD" // a message may name anything, a label holds UTF-8
		key = seriesKey{queue: strings.ToValidUTF8(queue, odd), name: strings.ToValidUTF8(name, odd)}
		if len(s.series) >= maxNamed || len(name) > maxName || len(queue) > maxName {
			key = seriesKey{queue: unregistered, name: unregistered}
		}
		counter = s.total.WithLabelValues(key.name, key.queue)
		s.series[key] = counter
	}
	counter.Inc()
}
