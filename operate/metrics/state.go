package metrics

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/worker"
)

var errStarting = errors.New("starting: the worker has not been set up yet")

// workerCollector asks the worker for its state at each scrape.
type workerCollector struct {
	worker atomic.Pointer[Worker]

	up, active, workers, processes *prometheus.Desc
	waiting, settling              *prometheus.Desc
	abandoned, lost                *prometheus.Desc
}

func newWorkerCollector(host string) *workerCollector {
	always := prometheus.Labels{"hostname": host}
	return &workerCollector{
		up: prometheus.NewDesc("celery_worker_up",
			"Indicates if a worker has recently sent a heartbeat.", nil, always),
		active: prometheus.NewDesc("celery_worker_tasks_active",
			"The number of tasks the worker is currently processing", nil, always),
		workers: prometheus.NewDesc("celery_active_worker_count",
			"The number of active workers in broker queue.", []string{"queue_name"}, nil),
		processes: prometheus.NewDesc("celery_active_process_count",
			"The number of active processes in broker queue.", []string{"queue_name"}, nil),
		waiting: prometheus.NewDesc("apium_waiting_messages",
			"Messages this worker holds that wait for a slot (reserved), their ETA (scheduled), their rate limit (limited), "+
				"or are of unknown tasks and kept for others (kept).", []string{"state"}, nil),
		settling: prometheus.NewDesc("apium_settling",
			"Starts and outcomes of tasks that are not written to the broker and the result backend yet.", nil, nil),
		abandoned: prometheus.NewDesc("apium_abandoned_handlers",
			"Handlers that still run although their task has ended: past its time limit, or terminated.", nil, nil),
		lost: prometheus.NewDesc("apium_abandoned_handlers_total",
			"Handlers that were not waited for any more.", nil, nil),
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
	for _, d := range []*prometheus.Desc{c.up, c.active, c.workers, c.processes, c.waiting, c.settling, c.abandoned, c.lost} {
		ch <- d
	}
}

// Collect reports a worker that is starting, disconnected or shutting down as down:
// those are the times when a Celery worker sends no heartbeats, or its worker-offline.
func (c *workerCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	var stats worker.Stats
	up := 0.0
	if c.ready() == nil {
		up = 1
	}
	if w := c.worker.Load(); w != nil {
		stats = (*w).Stats()
		slots := float64((*w).Concurrency())
		for _, queue := range (*w).Queues() {
			gauge(c.workers, up, queue.Name)
			gauge(c.processes, up*slots, queue.Name)
		}
	}
	gauge(c.up, up)
	gauge(c.active, float64(stats.Active))
	for state, n := range map[string]int{
		"reserved": stats.Reserved, "scheduled": stats.Scheduled, "limited": stats.Limited, "kept": stats.Kept,
	} {
		gauge(c.waiting, float64(n), state)
	}
	gauge(c.settling, float64(stats.Settling))
	gauge(c.abandoned, float64(stats.Abandoned))
	ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(stats.AbandonedTotal))
}
