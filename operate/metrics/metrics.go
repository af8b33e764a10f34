package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/worker"
)

const defaultScrapeTimeout = 2 * time.Second

// Options is what a worker's metrics are made of. Every field works at its zero value.
type Options struct {
	// Hostname is the worker's node name, "celery@web1". As in celery-exporter the
	// label hostname is the part after the first @.
	Hostname string
	// Version is the program's, for apium_build_info.
	Version string
	// RuntimeBuckets are the upper bounds of celery_task_runtime, in seconds.
	// Default: those of Prometheus' Python client.
	RuntimeBuckets []float64
	// Broker is asked at each scrape for what only the broker knows. Nil leaves
	// these figures out.
	Broker Broker
	// ScrapeTimeout is how long a scrape waits for Broker. Default 2 s.
	ScrapeTimeout time.Duration
	// Gatherer is what Handler serves at /metrics. Nil: these metrics, and those of the Go
	// runtime and the process.
	Gatherer prometheus.Gatherer
}

// Worker is what the metrics and the health checks ask a worker.
type Worker interface {
	// Ready is nil while the worker is connected and consuming; otherwise it says
	// why it is not.
	Ready() error
	Stats() worker.Stats
	// Concurrency is how many handlers may run at the same time, and Queues what the
	// worker consumes; remote control may change both.
	Concurrency() int
	Queues() []broker.Queue
}

// Metrics counts what a worker tells it. It is a [worker.Observer], and a
// [prometheus.Collector] to be registered wherever a program has its metrics.
type Metrics struct {
	gatherer prometheus.Gatherer
	registry *prometheus.Registry // our own; nil if gatherer is another
	tasks    *tasks
	sent     *named
	own      *own
	worker   *workerCollector
	counts   *counts
	all      []prometheus.Collector
}

var (
	_ worker.Observer      = (*Metrics)(nil)
	_ prometheus.Collector = (*Metrics)(nil)
)

// New returns metrics that are registered nowhere but where Handler serves them.
func New(opts Options) *Metrics {
	if len(opts.RuntimeBuckets) == 0 {
		opts.RuntimeBuckets = pythonBuckets
	}
	if opts.ScrapeTimeout == 0 {
		opts.ScrapeTimeout = defaultScrapeTimeout
	}
	host := hostLabel(opts.Hostname)
	m := &Metrics{
		gatherer: opts.Gatherer,
		tasks:    newTasks(host, opts.RuntimeBuckets),
		sent:     newSent(host),
		own:      newOwn(opts.Version),
		worker:   newWorkerCollector(host),
		counts:   newCounts(),
	}
	m.all = []prometheus.Collector{m.tasks, m.sent.total, m.own, m.worker, m.counts}
	if opts.Broker != nil {
		m.all = append(m.all, newBrokerCollector(opts.Broker, opts.ScrapeTimeout))
	}
	if m.gatherer == nil {
		m.registry = prometheus.NewRegistry()
		m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m)
		m.gatherer = m.registry
	}
	return m
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all {
		c.Collect(ch)
	}
}

// Watch makes w the worker whose state is served. Until it is called, the worker
// counts as starting.
func (m *Metrics) Watch(w Worker) { m.worker.watch(w) }

// Observe counts one step of a task.
func (m *Metrics) Observe(e worker.Event) {
	switch e.Kind {
	case worker.Received, worker.Started, worker.Retried, worker.Rejected, worker.Revoked:
		m.tasks.observe(&e)
	case worker.Succeeded, worker.Failed:
		m.tasks.observe(&e)
		if e.Settle > 0 { // an unknown task has no handler that returned
			m.own.settle.Observe(e.Settle.Seconds())
		}
	case worker.Refused:
		m.own.refused.WithLabelValues(e.Reason).Inc()
	case worker.Buried:
		m.own.buried.WithLabelValues(e.Reason).Inc()
	case worker.Forwarded:
		m.own.forwarded.count(e.Task.Name, e.Queue)
	case worker.Left:
		m.own.left.Inc()
	case worker.LeaseLost:
		m.own.leasesLost.Inc()
	case worker.Ignored: // has no counter in celery-exporter
	}
}

// Claimed counts one claim that brought n messages.
func (m *Metrics) Claimed(n int) { m.own.claim.Observe(float64(n)) }

// hostLabel is celery's nodesplit: what follows the first @, or everything.
func hostLabel(node string) string {
	if _, host, found := strings.Cut(node, "@"); found {
		return host
	}
	return node
}
