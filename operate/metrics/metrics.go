package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/tasks"
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
	// Beside is counted by others, and served with these figures.
	Beside []prometheus.Collector
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
	// Processes are those in which tasks run, apart from the worker's own.
	Processes() []worker.ProcessState
	// Shares are the shares of tasks that settings or operators have named.
	Shares() map[string]tasks.Share
	// Shadows are the tasks of which Go runs copies, to be compared with Python.
	Shadows() []worker.Shadow
}

// Metrics counts what a worker tells it. It is a [worker.Observer], and a
// [prometheus.Collector] to be registered wherever a program has its metrics.
type Metrics struct {
	endpoint
	collection
	tasks  *taskFigures
	sent   *named
	own    *own
	worker *workerCollector
	shares *shares
	counts *counts
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
		tasks:  newTasks(host, opts.RuntimeBuckets),
		sent:   newSent(host),
		own:    newOwn(opts.Version),
		worker: newWorkerCollector(host),
		counts: newCounts(),
	}
	m.shares = newShares(m.worker, opts.RuntimeBuckets)
	m.collection = collection{m.tasks, m.sent.total, m.own, m.worker, newProcesses(m.worker), m.shares, newShadows(m.worker), m.counts}
	if opts.Broker != nil {
		m.collection = append(m.collection, newBrokerCollector(opts.Broker, opts.ScrapeTimeout))
	}
	m.collection = append(m.collection, opts.Beside...)
	m.endpoint = newEndpoint("worker", opts.Gatherer, m.worker.ready, m)
	return m
}

// newEndpoint returns what serves gatherer; if that is nil: some figures, and those of the Go runtime and the process.
func newEndpoint(what string, gatherer prometheus.Gatherer, ready func() error, figures prometheus.Collector) endpoint {
	e := endpoint{what: what, gatherer: gatherer, ready: ready}
	if gatherer == nil {
		e.registry = prometheus.NewRegistry()
		e.registry.MustRegister(append(ofProcess(), figures)...)
		e.gatherer = e.registry
	}
	return e
}

// ofProcess are the figures of the Go runtime and the process.
func ofProcess() []prometheus.Collector {
	return []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
}

// Watch makes w the worker whose state is served. Until it is called, the worker
// counts as starting.
func (m *Metrics) Watch(w Worker) { m.worker.watch(w) }

// Ready is what /readyz answers: nil while the worker is connected and consuming; otherwise why it is not.
func (m *Metrics) Ready() error { return m.worker.ready() }

// Observe counts one step of a task.
func (m *Metrics) Observe(e worker.Event) {
	switch e.Kind {
	case worker.Received, worker.Started, worker.Rejected, worker.Revoked:
		m.tasks.observe(&e)
	case worker.Retried:
		m.tasks.observe(&e)
		m.shares.observe(&e)
	case worker.Succeeded, worker.Failed:
		m.tasks.observe(&e)
		m.shares.observe(&e)
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
