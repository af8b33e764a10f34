package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Server answers /metrics, /livez and /readyz.
type Server struct {
	http     http.Server
	listener net.Listener
	done     chan error
}

// endpoint is what is served of a worker or a beat.
type endpoint struct {
	gatherer prometheus.Gatherer
	registry *prometheus.Registry // our own; nil if gatherer is another
	what     string
	ready    func() error
}

// Handler serves /metrics, /livez and /readyz, for programs that have an HTTP
// server already.
func (e *endpoint) Handler() http.Handler {
	mux := http.NewServeMux()
	var counted prometheus.Registerer // errors of scrapes
	if e.registry != nil {
		counted = e.registry
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.gatherer, promhttp.HandlerOpts{
		Registry: counted,
		// With OpenMetrics the bounds of buckets are written "1.0" and "5.0", as the
		// Python client writes them in every format: the same series.
		EnableOpenMetrics: true,
	}))
	mux.HandleFunc("GET /livez", serveLive)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "ready", e.ready()) })
	mux.HandleFunc("GET /{$}", e.serveIndex)
	return mux
}

// limits are what the server allows its clients.
type limits struct {
	header, request, response time.Duration // to be read or written whole
	idle                      time.Duration // between two requests on a connection
	connections               int
}

// A scrape waits 2 s for a broker that does not answer, and Prometheus scrapes every
// minute at the least often: its connection stays.
var defaultLimits = limits{
	header: 5 * time.Second, request: 10 * time.Second, response: 30 * time.Second,
	idle: 3 * time.Minute, connections: 64,
}

// Listen starts a server at addr, host:port. Without a host (":9808", "9808") only this
// machine is served; "0.0.0.0:9808" serves all. Clients that are slow or idle are
// disconnected, and at most 64 are connected at a time. The caller must Shutdown it.
func (e *endpoint) Listen(addr string) (*Server, error) { return e.listen(addr, defaultLimits) }

func (e *endpoint) listen(addr string, l limits) (*Server, error) {
	addr = Address(addr)
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("metrics: another program listens at %s already; choose another address: %w", addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("metrics: cannot listen at %q: %w", addr, err)
	}
	s := &Server{
		http: http.Server{
			Handler:           e.Handler(),
			ReadHeaderTimeout: l.header, ReadTimeout: l.request, WriteTimeout: l.response, IdleTimeout: l.idle,
			ConnState: newConnections(l.connections).note,
		},
		listener: listener,
		done:     make(chan error, 1),
	}
	go func() { s.done <- s.http.Serve(listener) }()
	return s, nil
}

// Address adds the host that Listen takes where none is given: 127.0.0.1.
func Address(addr string) string {
	port, hasColon := strings.CutPrefix(addr, ":")
	if hasColon || addr != "" && strings.Trim(addr, "0123456789") == "" {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// Addr is where the server listens, with the port the system chose for ":0".
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Shutdown lets requests under way finish until ctx is done, then closes the server.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("metrics: shutdown: %w", err)
	}
	return nil
}

// serveLive answers as long as the process does: a broker that is away is no reason
// to restart it, and neither is a long shutdown.
func serveLive(w http.ResponseWriter, _ *http.Request) { answer(w, "live", nil) }

func answer(w http.ResponseWriter, good string, bad error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if bad != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		good = bad.Error()
	}
	_, _ = io.WriteString(w, good+"\n") // the client is gone: nobody to tell
}

const index = `<!doctype html>
<title>Apium %[1]s</title>
<h1>Apium %[1]s</h1>
<ul>
<li><a href="/metrics">/metrics</a>: figures for Prometheus
<li><a href="/livez">/livez</a>: 200 while the process lives
<li><a href="/readyz">/readyz</a>: 200 while the %[1]s is connected and at work
</ul>
`

func (e *endpoint) serveIndex(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, index, e.what) // the client is gone: nobody to tell
}
