package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Shared serves the figures of several workers of one process, each with a label of its own.
type Shared struct {
	endpoint
	label string
}

// NewShared serves nothing but the figures of the Go runtime and the process, until workers register theirs. The label
// tells them apart; ready is what /readyz answers.
func NewShared(label string, ready func() error) *Shared {
	registry := prometheus.NewRegistry()
	registry.MustRegister(ofProcess()...)
	return &Shared{endpoint: endpoint{what: "worker", gatherer: registry, registry: registry, ready: ready}, label: label}
}

// Registerer is where the worker with that value of the label registers its figures.
func (s *Shared) Registerer(value string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{s.label: value}, s.registry)
}
