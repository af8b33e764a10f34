package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/worker"
)

// processes asks the worker at each scrape for the child processes in which tasks run. A worker
// that has no such executor has none of these series.
type processes struct {
	worker *workerCollector

	up, started, ended, rss, pss, wait *prometheus.Desc
}

func newProcesses(w *workerCollector) *processes {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"executor"}, labels...), nil)
	}
	return &processes{
		worker: w,
		up:     desc("apium_children", "Child processes that run tasks, or can."),
		started: desc("apium_children_started_total",
			"Child processes that were started, by what the one before has ended of, or because there are more slots (start).", "reason"),
		ended: desc("apium_children_ended_total",
			"Child processes that have ended, by cause; stop: they were not needed any more.", "cause"),
		rss: desc("apium_children_rss_bytes",
			"Memory of all child processes; what they share counts once for each. Linux only."),
		pss: desc("apium_children_pss_bytes",
			"Memory of all child processes; what processes share is divided among them. Linux only."),
		wait: desc("apium_child_wait_seconds",
			"Time for which slots that could run a task had no child process for it."),
	}
}

func (p *processes) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.up, p.started, p.ended, p.rss, p.pss, p.wait} {
		ch <- d
	}
}

// causes are counted from the first scrape on: a rate needs a series before anything happens.
var causes = []worker.ProcessCause{
	worker.ProcessRestart, worker.ProcessMaxTasks, worker.ProcessMaxMemory, worker.ProcessTimeLimit, worker.ProcessTerminated, worker.ProcessLost,
}

func (p *processes) Collect(ch chan<- prometheus.Metric) {
	w := p.worker.worker.Load()
	if w == nil {
		return
	}
	for _, of := range (*w).Processes() {
		count := func(d *prometheus.Desc, counts map[worker.ProcessCause]int64, besides worker.ProcessCause) {
			for _, cause := range append(slices.Clone(causes), besides) {
				ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(counts[cause]), of.Executor, string(cause))
			}
		}
		ch <- prometheus.MustNewConstMetric(p.up, prometheus.GaugeValue, float64(len(of.PIDs)), of.Executor)
		count(p.started, of.Started, worker.ProcessStart)
		count(p.ended, of.Ended, worker.ProcessStop)
		ch <- prometheus.MustNewConstHistogram(p.wait, of.Waits.Count, of.Waits.Sum.Seconds(), of.Waits.Counts, of.Executor)
		if rss, pss, ok := memoryOf(of.PIDs); ok {
			ch <- prometheus.MustNewConstMetric(p.rss, prometheus.GaugeValue, float64(rss), of.Executor)
			ch <- prometheus.MustNewConstMetric(p.pss, prometheus.GaugeValue, float64(pss), of.Executor)
		}
	}
}
