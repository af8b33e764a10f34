package metrics

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

var errStarting = errors.New("starting: the worker has not been set up yet")

// workerCollector asks the worker for its state at each scrape.
type workerCollector struct {
	queues      []string
	concurrency int
	worker      atomic.Pointer[Worker]

	up, active, workers, processes *prometheus.Desc
}

func newWorkerCollector(host string, queues []string, concurrency int) *workerCollector {
	always := prometheus.Labels{"hostname": host}
	return &workerCollector{
		queues: queues, concurrency: concurrency,
		up: prometheus.NewDesc("celery_worker_up",
			"Indicates if a worker has recently sent a heartbeat.", nil, always),
		active: prometheus.NewDesc("celery_worker_tasks_active",
			"The number of tasks the worker is currently processing", nil, always),
		workers: prometheus.NewDesc("celery_active_worker_count",
			"The number of active workers in broker queue.", []string{"queue_name"}, nil),
		processes: prometheus.NewDesc("celery_active_process_count",
			"The number of active processes in broker queue.", []string{"queue_name"}, nil),
	}
}

func (c *workerCollector) watch(w Worker) { c.worker.Store(&w) }

// ready is the worker's own answer, or that there is no worker yet.
func (c *workerCollector) ready() error {
	if w := c.worker.Load(); w != nil {
		return (*w).Ready()
	}
	return errStarting
}

func (c *workerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.active, c.workers, c.processes} {
		ch <- d
	}
}

// Collect reports a worker that is starting, disconnected or shutting down as down:
// those are the times when a Celery worker sends no heartbeats, or its worker-offline.
func (c *workerCollector) Collect(ch chan<- prometheus.Metric) {
	up, active := 0.0, 0
	if c.ready() == nil {
		up = 1
	}
	if w := c.worker.Load(); w != nil {
		active = (*w).Stats().Active
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(c.up, up)
	gauge(c.active, float64(active))
	for _, queue := range c.queues {
		gauge(c.workers, up, queue)
		gauge(c.processes, up*float64(c.concurrency), queue)
	}
}
