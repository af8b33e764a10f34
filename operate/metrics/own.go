package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// own are the figures that only Apium has: about its claims, its leases and its
// connections.
type own struct {
	collection
	claim      prometheus.Histogram
	settle     prometheus.Histogram
	refused    *prometheus.CounterVec
	buried     *prometheus.CounterVec
	forwarded  *named
	left       prometheus.Counter
	leasesLost prometheus.Counter
}

func newOwn(version string) *own {
	o := &own{
		claim: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "apium_claim_batch_size",
			Help:    "Messages one claim brought.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512},
		}),
		settle: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "apium_settle_seconds",
			Help:    "Time from a handler's return until its result was stored and its message acknowledged.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apium_messages_refused_total",
			Help: "Messages that were dropped because no task could be read from them, by reason.",
		}, []string{"reason"}),
		buried: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apium_messages_buried_total",
			Help: "Messages that were put among the dead letters, by reason.",
		}, []string{"reason"}),
		forwarded: newNamed(prometheus.CounterOpts{
			Name: "apium_messages_forwarded_total",
			Help: "Messages of unknown tasks that were moved to another queue, by task and by the queue they came from.",
		}),
		left: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apium_messages_left_total",
			Help: "How often messages of unknown tasks were given back to their queue for other workers.",
		}),
		leasesLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apium_leases_lost_total",
			Help: "Messages that were given to another worker while this one held them.",
		}),
	}
	o.forwarded.total.WithLabelValues("None", "None") // a rate needs a series before the first is forwarded
	o.collection = collection{o.claim, o.settle, o.refused, o.buried, o.forwarded.total, o.left, o.leasesLost, newBuild(version)}
	return o
}
