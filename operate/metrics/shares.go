package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// shares are the figures of tasks of which Go takes a share: how large it is, and how those do that ran in Go beside
// those that did not, to be compared. Tasks without a share have none of these series.
type shares struct {
	worker  *workerCollector
	share   *prometheus.Desc
	runtime *prometheus.HistogramVec
}

// inGo is the label of runs in Go.
const inGo = "go"

func newShares(w *workerCollector, buckets []float64) *shares {
	return &shares{
		worker: w,
		share: prometheus.NewDesc("apium_task_share_ratio",
			"Share of a task's messages that this worker takes, or runs in Go if it has children that run the others.", []string{"name"}, nil),
		runtime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apium_shared_task_runtime_seconds", Buckets: buckets,
			Help: "Runtime of tasks that have a share, by what ran them and how they ended.",
		}, []string{"name", "executor", "state"}),
	}
}

// observe counts the end of a run.
func (s *shares) observe(e *worker.Event) {
	if !e.Shared {
		return
	}
	executor := e.Executor
	if executor == "" {
		executor = inGo
	}
	state := map[worker.Kind]string{worker.Succeeded: "SUCCESS", worker.Failed: "FAILURE", worker.Retried: "RETRY"}[e.Kind]
	s.runtime.WithLabelValues(e.Task.Name, executor, state).Observe(e.Runtime.Seconds())
}

func (s *shares) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.share
	s.runtime.Describe(ch)
}

func (s *shares) Collect(ch chan<- prometheus.Metric) {
	if w := s.worker.worker.Load(); w != nil {
		for name, share := range (*w).Shares() {
			ch <- prometheus.MustNewConstMetric(s.share, prometheus.GaugeValue, float64(share)/float64(tasks.WholeShare), name)
		}
	}
	s.runtime.Collect(ch)
}
