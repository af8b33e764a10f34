package metrics

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/protocol"
)

// maxSent bounds the tasks and queues counted apart: chains that come in messages may
// name any.
const maxSent = 1000

// sent counts the messages a worker publishes.
type sent struct {
	total *prometheus.CounterVec

	mu     sync.Mutex // guards series
	series map[seriesKey]prometheus.Counter
}

func newSent(host string) *sent {
	return &sent{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "celery_task_sent_total", Help: "Sent when a task message is published.",
			ConstLabels: prometheus.Labels{"hostname": host},
		}, []string{"name", "queue_name"}),
		series: map[seriesKey]prometheus.Counter{},
	}
}

// TaskSent counts a task that the worker has published. celery-exporter counts those of
// producers that send task-sent events (task_send_sent_event).
func (m *Metrics) TaskSent(task *protocol.Task) {
	const odd = "\uFFFD" // a message may name anything, a label holds UTF-8
	key := seriesKey{queue: strings.ToValidUTF8(task.RoutingKey, odd), name: strings.ToValidUTF8(task.Name, odd)}
	if task.Exchange != "" { // which queues it leads to, only its bindings say
		key.queue = unregistered
	}
	m.sent.count(key)
}

func (s *sent) count(key seriesKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counter := s.series[key]
	if counter == nil {
		if len(s.series) >= maxSent {
			key = seriesKey{queue: unregistered, name: unregistered}
		}
		counter = s.total.WithLabelValues(key.name, key.queue)
		s.series[key] = counter
	}
	counter.Inc()
}
