package cli

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/internal/certtest"
	"github.com/apium/apium/internal/redistest"
)

// guard serves TLS in front of a Redis.
type guard struct {
	t    *testing.T
	to   *redistest.Server
	port string
	file string // what clients are to trust

	mu       sync.Mutex
	shows    *tls.Certificate
	cutAfter int  // bytes of a handshake; negative: none is cut
	silent   bool // nobody answers
	conns    map[net.Conn]bool
}

func newGuard(t *testing.T, to *redistest.Server) *guard {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{t: t, to: to, file: filepath.Join(t.TempDir(), "ca.pem"), cutAfter: -1, conns: map[net.Conn]bool{}}
	_, g.port, _ = net.SplitHostPort(l.Addr().String())
	g.trust(g.show(time.Hour))
	t.Cleanup(func() { l.Close(); g.cut() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go g.serve(conn)
		}
	}()
	return g
}

// show has new connections see a new certificate, which lasts for so long, and returns what trusts it.
func (g *guard) show(lasts time.Duration) (trusted []byte) {
	g.t.Helper()
	shown, trusted := certtest.SelfSigned(g.t, lasts, "localhost")
	g.set(func() { g.shows = &shown })
	return trusted
}

// trust puts a certificate into the file of those that are trusted.
func (g *guard) trust(cert []byte) {
	g.t.Helper()
	if err := os.WriteFile(g.file, cert, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guard) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// cut ends all connections.
func (g *guard) cut() {
	g.set(func() {
		for conn := range g.conns {
			conn.Close()
		}
	})
}

func (g *guard) serve(conn net.Conn) {
	var shows *tls.Certificate
	var most int
	var silent bool
	g.set(func() { g.conns[conn], shows, most, silent = true, g.shows, g.cutAfter, g.silent })
	defer g.set(func() { delete(g.conns, conn) })
	defer conn.Close()
	if silent {
		_, _ = io.Copy(io.Discard, conn) // until the client has enough
		return
	}
	limited := &cutConn{Conn: conn, left: most}
	front := tls.Server(limited, &tls.Config{Certificates: []tls.Certificate{*shows}, MinVersion: tls.VersionTLS12})
	if front.Handshake() != nil {
		return
	}
	back, err := net.Dial("unix", g.to.Socket())
	if err != nil {
		return
	}
	defer back.Close()
	go func() { _, _ = io.Copy(front, back); conn.Close() }()
	_, _ = io.Copy(back, front)
}

// cutConn breaks after so many bytes were written; never, if that is negative.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		c.Close()
		return n, io.ErrClosedPipe
	}
	return n, nil
}

// TestTLSFaults: a worker outlives whatever happens to TLS while it runs, says what it was, and works again when that is over. What
// its files hold by then counts: a certificate that was replaced needs no restart.
func TestTLSFaults(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	g := newGuard(t, server)
	url := "rediss://localhost:" + g.port + "/0?ssl_cert_reqs=required&ssl_ca_certs=" + g.file
	var log buffer
	ended := make(chan int, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		ended <- run(ctx, testRegistry(), []string{"apium", "worker", "-linfo", "-n", "w@h", "-b", url, "--result-backend", url}, &log, &log)
	}()
	log.waitFor(t, "ready.")
	works := func(when string) {
		t.Helper()
		if status, _, stderr := call(t, "send", "proj.add", "1", "2", "-w", "--timeout", "100", "-b", server.URL(0), "--result-backend", server.URL(0)); status != exitOK {
			t.Fatalf("%s: %s\n%s", when, stderr, log.String())
		}
	}
	says := func(text string, before int) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); log.Count(text) <= before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it does not say %q:\n%s", text, log.String())
			}
		}
	}
	works("at first")

	g.show(-time.Hour)
	works("while its connections last that were made with a certificate which has expired")
	g.cut()
	says("expired", 0)
	g.trust(g.show(time.Hour))
	works("after the certificate was renewed, by another authority")

	g.show(time.Hour)
	before := log.Count("not trusted")
	g.cut()
	says("not trusted", before)
	if err := os.WriteFile(g.file, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.trust(g.show(time.Hour))
	works("after the authority was replaced")

	for _, n := range []int{0, 1, 100, 600} {
		g.set(func() { g.cutAfter = n })
		before := log.Count("Connection to broker lost")
		g.cut()
		says("Connection to broker lost", before)
		g.set(func() { g.cutAfter = -1 })
		works("after handshakes were cut")
	}

	g.set(func() { g.silent = true })
	before = log.Count("did not answer in time")
	g.cut()
	says("did not answer in time", before)
	g.set(func() { g.silent = false })
	g.cut()
	works("after handshakes were not answered")

	stop()
	if status := <-ended; status != exitOK {
		t.Errorf("it ended with %d", status)
	}
	if strings.Contains(log.String(), "panic") {
		t.Error(log.String())
	}
}
