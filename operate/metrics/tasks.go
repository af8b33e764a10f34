package metrics

import (
	"maps"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/worker"
)

const (
	// unregistered is the task name celery-exporter gives tasks whose name it never
	// learned; its dashboards leave it out. Here it stands for every name that is
	// not registered: such names come from the wire, and each would be a new series.
	unregistered = "None"
	// unknownException is celery-exporter's word for a failure without a class name.
	unknownException = "UnknownException"
	// maxExceptions bounds the classes counted apart for one task in one queue:
	// handlers may make up class names as they go.
	maxExceptions = 100
)

// pythonBuckets are the default buckets of Prometheus' Python client.
var pythonBuckets = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}

// counted lists celery-exporter's counters of task events, but for task_failed, which
// has one label more, and task_sent, which no step of a task this worker runs counts.
var counted = []struct {
	kind       worker.Kind
	name, help string
}{
	{worker.Received, "celery_task_received_total", "Sent when the worker receives a task."},
	{worker.Started, "celery_task_started_total", "Sent just before the worker executes the task."},
	{worker.Succeeded, "celery_task_succeeded_total", "Sent if the task executed successfully."},
	{worker.Retried, "celery_task_retried_total", "Sent if the task failed, but will be retried in the future."},
	{
		worker.Rejected, "celery_task_rejected_total",
		"The task was rejected by the worker, possibly to be re-queued or moved to a dead letter queue.",
	},
	{worker.Revoked, "celery_task_revoked_total", "Sent if the task has been revoked."},
}

// taskFigures are those that carry a task's name. Three steps of every task end
// here, so the series of a task in a queue are looked up once, without a lock, and
// counting is one atomic addition.
type taskFigures struct {
	counters []*prometheus.CounterVec // parallel to counted
	failed   *prometheus.CounterVec
	runtime  *prometheus.HistogramVec

	mu     sync.Mutex // held to replace series
	series atomic.Pointer[map[seriesKey]*series]
}

type seriesKey struct{ queue, name string }

// series are the counters of one task in one queue.
type series struct {
	counters [worker.Revoked + 1]prometheus.Counter // by worker.Kind; nil for Failed
	runtime  prometheus.Observer
	failed   *prometheus.CounterVec // curried: only the exception is open

	mu         sync.Mutex // guards exceptions
	exceptions map[string]prometheus.Counter
}

func newTasks(host string, buckets []float64) *taskFigures {
	always := prometheus.Labels{"hostname": host}
	labels := []string{"name", "queue_name"}
	t := &taskFigures{
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "celery_task_failed_total", Help: "Sent if the execution of the task failed.", ConstLabels: always,
		}, append([]string{"exception"}, labels...)),
		runtime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "celery_task_runtime", Help: "Histogram of task runtime measurements.", ConstLabels: always,
			Buckets: buckets,
		}, labels),
	}
	for _, c := range counted {
		t.counters = append(t.counters, prometheus.NewCounterVec(
			prometheus.CounterOpts{Name: c.name, Help: c.help, ConstLabels: always}, labels))
	}
	t.series.Store(&map[seriesKey]*series{})
	return t
}

func (t *taskFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range t.counters {
		c.Describe(ch)
	}
	t.failed.Describe(ch)
	t.runtime.Describe(ch)
}

func (t *taskFigures) Collect(ch chan<- prometheus.Metric) {
	for _, c := range t.counters {
		c.Collect(ch)
	}
	t.failed.Collect(ch)
	t.runtime.Collect(ch)
}

func (t *taskFigures) observe(e *worker.Event) {
	key := seriesKey{queue: e.Queue, name: unregistered}
	if e.Registered && e.Task != nil {
		key.name = e.Task.Name
	}
	s := (*t.series.Load())[key]
	if s == nil {
		s = t.add(key)
	}
	if e.Kind == worker.Failed {
		s.fail(exceptionLabel(e))
		return
	}
	s.counters[e.Kind].Inc()
	if e.Kind == worker.Succeeded { // celery-exporter times no failures
		s.runtime.Observe(e.Runtime.Seconds())
	}
}

// add makes the series of a task that was not seen before. As in celery-exporter all
// its counters are there at once, at zero: rates and ratios need both ends.
func (t *taskFigures) add(key seriesKey) *series {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.series.Load()
	if s := old[key]; s != nil {
		return s
	}
	s := &series{
		runtime:    t.runtime.WithLabelValues(key.name, key.queue),
		failed:     t.failed.MustCurryWith(prometheus.Labels{"name": key.name, "queue_name": key.queue}),
		exceptions: map[string]prometheus.Counter{},
	}
	for i, c := range counted {
		s.counters[c.kind] = t.counters[i].WithLabelValues(key.name, key.queue)
	}
	s.failed.WithLabelValues("")
	series := maps.Clone(old)
	series[key] = s
	t.series.Store(&series)
	return s
}

// exceptionLabel is the exception's class name. Celery writes Reject in its events without
// one, so that celery-exporter cannot know it.
func exceptionLabel(e *worker.Event) string {
	if e.Raised != nil && e.Raised.Type == "Reject" && e.Raised.Module == "celery.exceptions" {
		return unknownException
	}
	return e.Exception
}

var className = regexp.MustCompile(`^\w+$`)

func (s *series) fail(exception string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counter := s.exceptions[exception]
	if counter == nil {
		if len(s.exceptions) >= maxExceptions || !className.MatchString(exception) {
			exception = unknownException
		}
		counter = s.failed.WithLabelValues(exception)
		s.exceptions[exception] = counter
	}
	counter.Inc()
}
