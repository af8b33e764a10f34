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
	blocked    *prometheus.Desc

	mu        sync.Mutex
	read      map[*prometheus.Desc]func() int64
	isBlocked func() bool // nil: the broker never is
}

func newCounts() *counts {
	c := &counts{
		reconnects: map[string]*prometheus.Desc{},
		dropped: prometheus.NewDesc("apium_events_dropped_total",
			"Events that were not sent because too many waited for the broker.", nil, nil),
		blocked: prometheus.NewDesc("apium_broker_blocked",
			"Whether the broker takes no messages now, because it is short of memory or disk.", nil, nil),
		read: map[*prometheus.Desc]func() int64{},
	}
	for _, role := range []string{"broker", "publisher", "backend"} {
		c.reconnects[role] = prometheus.NewDesc("apium_reconnects_total",
			"Connections that broke and were made again.", nil, prometheus.Labels{"connection": role})
	}
	return c
}

func (c *counts) watch(what *prometheus.Desc, count func() int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read[what] = count
}

// WatchReconnects serves how often a connection broke and was made again, which count
// tells at each scrape. role says which one: "broker", "publisher" where publishing has one of its own, or "backend".
func (m *Metrics) WatchReconnects(role string, count func() int64) {
	m.counts.watch(m.counts.reconnects[role], count)
}

// WatchEvents serves how many events there was no room for, which dropped tells at each
// scrape.
func (m *Metrics) WatchEvents(dropped func() int64) { m.counts.watch(m.counts.dropped, dropped) }

// WatchBlocked serves whether the broker takes no messages, which blocked tells at each scrape.
func (m *Metrics) WatchBlocked(blocked func() bool) {
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	m.counts.isBlocked = blocked
}

func (c *counts) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.dropped
	ch <- c.blocked
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
	if c.isBlocked != nil {
		value := 0.0
		if c.isBlocked() {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(c.blocked, prometheus.GaugeValue, value)
	}
}
