package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apium/apium/internal/sdnotify"
)

// systemd hears what a service tells its manager.
type systemd struct {
	*net.UnixConn
	path string
}

func startSystemd(t *testing.T) systemd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return systemd{c, path}
}

// environ is what systemd gives to a service, with WatchdogSec=1.
func (s systemd) environ() []string {
	return []string{"NOTIFY_SOCKET=" + s.path, "WATCHDOG_USEC=1000000"}
}

// waitFor returns what was said before a message that begins so.
func (s systemd) waitFor(t *testing.T, beginning string) (before []string) {
	t.Helper()
	b := make([]byte, 4096)
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		n, err := s.Read(b)
		if err != nil {
			t.Fatalf("%s: %v, after %q", beginning, err, before)
		}
		if strings.HasPrefix(string(b[:n]), beginning) {
			return before
		}
		before = append(before, string(b[:n]))
	}
}

// fallsSilent tells whether nothing is said for a while, of what comes every 10 ms.
func (s systemd) fallsSilent() bool {
	b := make([]byte, 4096)
	for range 1000 {
		_ = s.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := s.Read(b); err != nil {
			return true
		}
	}
	return false
}

// wantNone fails if one of the messages begins so.
func wantNone(t *testing.T, messages []string, beginnings ...string) {
	t.Helper()
	for _, message := range messages {
		for _, beginning := range beginnings {
			if strings.HasPrefix(message, beginning) {
				t.Errorf("%q was said in %q", message, messages)
			}
		}
	}
}

func TestWorkerReportsToSystemd(t *testing.T) {
	t.Parallel()
	s := startSystemd(t)
	child, out := startChildWith(t, s.environ(), "worker", "-linfo", "-b", startEmbedded(t))
	wantNone(t, s.waitFor(t, "READY=1"), "RELOADING", "STOPPING")
	if !strings.Contains(out.String(), "Connected to") {
		t.Errorf("ready before it was connected:\n%s", out.String())
	}
	s.waitFor(t, "WATCHDOG=1")
	s.waitFor(t, "WATCHDOG=1")
	sendSignal(t, child, sighup)
	wantNone(t, s.waitFor(t, "RELOADING=1"), "READY", "STOPPING")
	wantNone(t, s.waitFor(t, "READY=1"), "STOPPING") // the program that has taken over
	sendSignal(t, child, sigterm)
	s.waitFor(t, "STOPPING=1")
	wantExit(t, child, 10*time.Second)
}

func TestBeatReportsToSystemd(t *testing.T) {
	t.Parallel()
	s := startSystemd(t)
	child, _ := startChildWith(t, s.environ(), "beat", "-b", startEmbedded(t))
	wantNone(t, s.waitFor(t, "READY=1"), "STOPPING")
	s.waitFor(t, "WATCHDOG=1")
	sendSignal(t, child, sigterm)
	s.waitFor(t, "STOPPING=1")
	wantExit(t, child, 10*time.Second)
}

// A service that cannot report says so, and works.
func TestNobodyHearsReports(t *testing.T) {
	t.Parallel()
	child, out := startChildWith(t, []string{"NOTIFY_SOCKET=" + filepath.Join(t.TempDir(), "nobody")}, "worker", "-linfo", "-b", startEmbedded(t))
	out.waitFor(t, "Nobody is told how this service is: NOTIFY_SOCKET: ")
	out.waitFor(t, "ready.")
	sendSignal(t, child, sigterm)
	wantExit(t, child, 10*time.Second)
}

// patient is a service that does not start until it is told to, and may be stuck.
type patient struct {
	started, sick atomic.Bool
	stuck         chan struct{} // not nil: it does not answer
}

func (p *patient) Ready() error {
	if !p.started.Load() {
		return errors.New("not started")
	}
	return nil
}

func (p *patient) Alive() error {
	if p.stuck != nil && p.started.Load() {
		<-p.stuck
	}
	if p.sick.Load() {
		return errors.New("sick")
	}
	return nil
}

func TestStuckServiceGivesNoSignOfLife(t *testing.T) {
	s := startSystemd(t)
	t.Setenv("NOTIFY_SOCKET", s.path)
	t.Setenv("WATCHDOG_USEC", "30000")
	for name, p := range map[string]*patient{"it says so": {}, "it does not answer": {stuck: make(chan struct{})}} {
		to, err := sdnotify.Open()
		if err != nil {
			t.Fatal(err)
		}
		reports := &supervised{to: to, end: make(chan struct{}), ended: make(chan struct{})}
		go reports.report()
		s.waitFor(t, "WATCHDOG=1") // it is not there yet, and may take its time
		reports.serves(p)
		s.waitFor(t, "STATUS=not started")
		s.waitFor(t, "WATCHDOG=1")
		p.sick.Store(true)
		p.started.Store(true)
		if !s.fallsSilent() {
			t.Errorf("%s: it goes on saying that it lives", name)
		}
		if p.stuck != nil {
			close(p.stuck)
		}
		reports.close()
	}
}

// An app's code is loaded anew while the worker goes on.
func TestReloadIsReported(t *testing.T) {
	s := startSystemd(t)
	t.Setenv("NOTIFY_SOCKET", s.path)
	to, err := sdnotify.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, failure := range []error{nil, errors.New("no such module")} {
		stop := newStopper(t.Context())
		stop.restarts, stop.supervisor = true, &supervised{to: to}
		stop.speak(io.Discard, slog.New(slog.DiscardHandler))
		loaded := false
		stop.reload.Store(new(func(context.Context) error { loaded = true; return failure }))
		stop.handle(sighup, logTime)
		wantNone(t, s.waitFor(t, "RELOADING=1"), "READY", "STOPPING")
		wantNone(t, s.waitFor(t, "READY=1"), "STOPPING")
		stop.release()
		if !loaded {
			t.Error("ready before it was loaded")
		}
	}
}
