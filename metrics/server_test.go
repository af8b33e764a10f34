package metrics_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/metrics"
)

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Options{})
	s, err := m.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.Addr()
	check := func(path string, status int, text string) {
		t.Helper()
		got, body := get(t, base+path)
		if got != status || !strings.Contains(body, text) {
			t.Errorf("%s answers %d %q, want %d with %q", path, got, body, status, text)
		}
	}
	check("/readyz", 503, "starting")
	check("/livez", 200, "live")
	w := &fakeWorker{}
	m.Watch(w)
	check("/readyz", 200, "ready")
	w.ready = errors.New("disconnected: dial tcp: connection refused")
	check("/readyz", 503, "disconnected: dial tcp")
	check("/livez", 200, "live")
	check("/metrics", 200, "celery_worker_up")
	check("/", 200, "/readyz")
	check("/nothing", 404, "")

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if again, err := m.Listen(s.Addr()); err != nil {
		t.Errorf("the address is not free after Shutdown: %v", err)
	} else if err := again.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Options{})
	s, err := m.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	for addr, want := range map[string]string{
		s.Addr():         "another program listens at " + s.Addr(),
		"localhost":      `cannot listen at "localhost"`,
		"127.0.0.1:what": `cannot listen at "127.0.0.1:what"`,
	} {
		if _, err := m.Listen(addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q): %v, want an error with %q", addr, err, want)
		}
	}
}
