package metrics_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/operate/metrics"
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

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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

func TestAddress(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		":9808": "127.0.0.1:9808", "9808": "127.0.0.1:9808", ":0": "127.0.0.1:0", ":http": "127.0.0.1:http",
		"0.0.0.0:9808": "0.0.0.0:9808", "[::]:9808": "[::]:9808", "web1:9808": "web1:9808", "localhost": "localhost",
	} {
		if got := metrics.Address(given); got != want {
			t.Errorf("%q is %q, want %q", given, got, want)
		}
	}
}

// listen starts a server that is shut down at the end of the test.
func listen(t *testing.T, idle time.Duration, connections int) *metrics.Server {
	t.Helper()
	s, err := metrics.New(metrics.Options{}).ListenWith(":0", idle, connections)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return s
}

// client connects and makes one request; the connection stays.
func client(t *testing.T, s *metrics.Server) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "live\n" {
		t.Fatalf("%q, %v", body, err)
	}
	return conn
}

// A connection on which nothing is asked ends.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	conn := client(t, listen(t, 50*time.Millisecond, 10))
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is still open: read %d bytes, %v", n, err)
	}
}

// Whoever connects and keeps quiet gives way to those who come later, who are all served.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	const most = 5
	s := listen(t, time.Hour, most)
	closed := make(chan struct{}, 4*most)
	for range 4 * most {
		conn := client(t, s)
		go func() {
			_, _ = conn.Read(make([]byte, 1))
			closed <- struct{}{}
		}()
	}
	for range 3 * most {
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Fatal("too many connections are open")
		}
	}
	if status, _ := get(t, "http://"+s.Addr()+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("one more gets %d", status)
	}
}
