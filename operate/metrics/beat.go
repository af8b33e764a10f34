package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// BeatOptions is what the metrics of a beat are made of.
type BeatOptions struct {
	// Version is the program's, for apium_build_info. "": there is none, as a worker beside it has it.
	Version string
	// Ready is nil while the beat is connected and at work; otherwise it says why it is not. Nil: it is.
	Ready func() error
	// Gatherer is what Handler serves at /metrics. Nil: these metrics, and those of the Go
	// runtime and the process.
	Gatherer prometheus.Gatherer
}

// Beat counts what a beat tells it: it is an observer for package beat, and a
// [prometheus.Collector].
type Beat struct {
	endpoint
	collection
	leader prometheus.Gauge
	sent   *prometheus.CounterVec
	late   prometheus.Histogram
	errors prometheus.Counter
}

// NewBeat returns metrics that are registered nowhere but where Handler serves them.
func NewBeat(opts BeatOptions) *Beat {
	b := &Beat{
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "apium_beat_leader",
			Help: "1 while this beat is the one of its schedule that sends.",
		}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apium_beat_sent_total",
			Help: "Runs of periodic tasks that were sent, by entry.",
		}, []string{"entry"}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "apium_beat_late_seconds",
			Help:    "Time from when a run was due until it was sent.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apium_beat_errors_total",
			Help: "Attempts to send periodic tasks, or to find out which are due, that came to nothing.",
		}),
	}
	b.collection = collection{b.leader, b.sent, b.late, b.errors}
	if opts.Version != "" {
		b.collection = append(b.collection, newBuild(opts.Version))
	}
	ready := opts.Ready
	if ready == nil {
		ready = func() error { return nil }
	}
	b.endpoint = newEndpoint("beat", opts.Gatherer, ready, b)
	return b
}

// Sent counts a run.
func (b *Beat) Sent(entry string, late time.Duration) {
	b.sent.WithLabelValues(entry).Inc()
	b.late.Observe(late.Seconds())
}

// Failed counts an attempt that came to nothing.
func (b *Beat) Failed(string) { b.errors.Inc() }

// Leads notes whether the beat is the one that sends.
func (b *Beat) Leads(leads bool) {
	b.leader.Set(0)
	if leads {
		b.leader.Set(1)
	}
}
