package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// collection is several collectors as one.
type collection []prometheus.Collector

// Describe implements [prometheus.Collector].
func (all collection) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range all {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (all collection) Collect(ch chan<- prometheus.Metric) {
	for _, c := range all {
		c.Collect(ch)
	}
}

// newBuild says which version of the program runs.
func newBuild(version string) prometheus.Gauge {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "apium_build_info",
		Help:        "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	return build
}
