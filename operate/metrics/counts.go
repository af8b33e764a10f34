package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are figures that others count, and are asked for at each scrape. What nobody counts
// is left out.
type counts struct {
	reconnects map[string]*prometheus.Desc // by role
	dropped    *prometheus.Desc

	mu   sync.Mutex
	read map[*prometheus.Desc]func() int64
}

func newCounts() *counts {
	c := &counts{
		reconnects: map[string]*prometheus.Desc{},
		dropped: prometheus.NewDesc("apium_events_dropped_total",
			"Events that were not sent because too many waited for the broker.", nil, nil),
		read: map[*prometheus.Desc]func() int64{},
	}
	for _, role := range []string{"broker", "backend"} {
		c.reconnects[role] = prometheus.NewDesc("apium_reconnects_total",
			"Connections to Redis that broke and were made again.", nil, prometheus.Labels{"connection": role})
	}
	return c
}

func (c *counts) watch(what *prometheus.Desc, count func() int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read[what] = count
}

// WatchReconnects serves how often a connection broke and was made again, which count
// tells at each scrape. role says which one: "broker" or "backend".
func (m *Metrics) WatchReconnects(role string, count func() int64) {
	m.counts.watch(m.counts.reconnects[role], count)
}

// WatchEvents serves how many events there was no room for, which dropped tells at each
// scrape.
func (m *Metrics) WatchEvents(dropped func() int64) { m.counts.watch(m.counts.dropped, dropped) }

func (c *counts) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.dropped
	for _, d := range c.reconnects {
		ch <- d
	}
}

func (c *counts) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for what, count := range c.read {
		ch <- prometheus.MustNewConstMetric(what, prometheus.CounterValue, float64(count()))
	}
}
