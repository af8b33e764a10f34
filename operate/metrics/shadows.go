package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/worker"
)

// shadows are the figures of tasks of which Go runs copies, to be compared with Python. Without shadows there are none.
type shadows struct {
	worker         *workerCollector
	total, runtime *prometheus.Desc
}

// inPython is the label of the runs that count.
const inPython = "python"

func newShadows(w *workerCollector) *shadows {
	return &shadows{
		worker: w,
		total: prometheus.NewDesc("apium_shadow_total",
			"Runs of tasks in Python that Go was to run, too, by what comparing them has shown.", []string{"name", "outcome"}, nil),
		runtime: prometheus.NewDesc("apium_shadow_runtime_seconds",
			"Runtime of those that were compared, in Python and in Go; the quantile is that of the last hundred.", []string{"name", "executor"}, nil),
	}
}

func (s *shadows) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.total
	ch <- s.runtime
}

func (s *shadows) Collect(ch chan<- prometheus.Metric) {
	w := s.worker.worker.Load()
	if w == nil {
		return
	}
	for _, shadow := range (*w).Shadows() {
		for _, outcome := range []worker.ShadowOutcome{
			worker.ShadowSame, worker.ShadowDifferent, worker.ShadowUncompared, worker.ShadowTimeout, worker.ShadowDropped,
		} {
			ch <- prometheus.MustNewConstMetric(s.total, prometheus.CounterValue, float64(shadow.Counts[outcome]), shadow.Task, string(outcome))
		}
		for executor, r := range map[string]worker.Runtimes{inPython: shadow.Python, inGo: shadow.Go} {
			ch <- prometheus.MustNewConstSummary(s.runtime, r.Count, r.Sum.Seconds(), map[float64]float64{0.5: median(r.Last)}, shadow.Task, executor)
		}
	}
}

// median is that of some times, in seconds; 0 if there are none.
func median(all []time.Duration) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2].Seconds()
}
