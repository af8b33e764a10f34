package app

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/internal/build"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/worker"
)

// figures are a worker's metrics, which are counted only where somebody can see them.
type figures struct {
	*metrics.Metrics
	broker brokerStats
	wanted atomic.Bool
}

func (w *Worker) newFigures() *figures {
	f := &figures{}
	gatherer, _ := w.opts.Registerer.(prometheus.Gatherer)
	var beside []prometheus.Collector
	if w.beat != nil {
		beside = append(beside, w.beat.figures)
	}
	f.Metrics = metrics.New(metrics.Options{
		Hostname: w.cfg.Hostname, Version: build.Version(), Broker: &f.broker, Gatherer: gatherer, Beside: beside,
	})
	f.wanted.Store(w.opts.Registerer != nil || w.conf.MetricsAddr != "")
	return f
}

// Handler serves /metrics, /livez and /readyz, to be mounted in a server of one's own; see
// apium_metrics_addr for the worker's. Call it before Run, or what happened before is not
// counted. /readyz is 503 unless the worker is connected and consuming.
func (w *Worker) Handler() http.Handler {
	w.figures.wanted.Store(true)
	return w.figures.Handler()
}

// startMetrics registers and serves metrics while the worker runs, if they are wanted.
func (s *service) startMetrics() error {
	if to := s.opts.Registerer; to != nil {
		if err := to.Register(s.figures); err != nil {
			return &ConfigError{err}
		}
		s.onClose(func(context.Context) error { to.Unregister(s.figures); return nil })
	}
	addr := s.conf.MetricsAddr
	if addr == "" {
		return nil
	}
	server, err := s.figures.Listen(addr)
	if err != nil {
		return &ConfigError{err}
	}
	s.onClose(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = server.Shutdown(ctx) // scrapes under way may be cut short
		return nil
	})
	served := ""
	if metrics.Address(addr) != addr {
		served = " (for this machine only; give an address such as 0.0.0.0:9808 to serve others)"
	}
	s.log.Info("Metrics at http://"+server.Addr()+"/metrics"+served, logline.EventKey, "Metrics are served", "address", server.Addr())
	return nil
}

// count has the metrics told of each step of each task.
func (s *service) count(cfg *worker.Config) {
	if !s.figures.wanted.Load() {
		return
	}
	cfg.Observers = append(cfg.Observers, s.figures.Metrics)
	s.tellSent(cfg, s.figures.TaskSent)
}

// watch has the metrics and the checks of health ask what runs and what is connected.
func (s *service) watch() {
	s.figures.broker.consumer.Store(s.consumer)
	s.figures.WatchEvents(s.dispatcher.Dropped)
	publisher, _ := s.publisher.(fromsettings.Watched)
	s.figures.Watch(watched{Worker: s.runner, consumer: s.consumer, publisher: publisher})
	if publisher != nil {
		s.figures.WatchReconnects("publisher", publisher.Reconnects)
		s.figures.WatchBlocked(func() bool { _, blocked := publisher.Blocked(); return blocked })
	}
	if s.consumer.Reconnects != nil {
		s.figures.WatchReconnects("broker", s.consumer.Reconnects)
	}
	if s.store != nil && s.store.Reconnects != nil {
		s.figures.WatchReconnects("backend", s.store.Reconnects)
	}
}

var errNotConnected = errors.New("not connected to the broker yet")

// brokerStats answers a scrape's questions about the broker, from the moment the
// worker is connected to it.
type brokerStats struct {
	consumer atomic.Pointer[fromsettings.Consumer]
}

// BrokerStats implements metrics.Broker.
func (b *brokerStats) BrokerStats(ctx context.Context) (metrics.BrokerStats, error) {
	consumer := b.consumer.Load()
	if consumer == nil {
		return metrics.BrokerStats{}, errNotConnected
	}
	return consumer.Stats(ctx)
}

// watched is a worker whose readiness includes its broker's.
type watched struct {
	*worker.Worker
	consumer  *fromsettings.Consumer
	publisher fromsettings.Watched // nil: it has no connection of its own
}

func (w watched) Ready() error {
	if err := w.Worker.Ready(); err != nil {
		return err
	}
	if !w.consumer.Connected() {
		return errors.New("not connected to the broker")
	}
	if w.publisher == nil {
		return nil
	}
	if !w.publisher.Connected() {
		return errors.New("not connected to the broker: nothing can be published")
	}
	if reason, blocked := w.publisher.Blocked(); blocked {
		return errors.New("the broker takes no messages now: " + reason)
	}
	return nil
}
