package redistest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Stop kills the server, as an outage does. Its data is gone unless Save was called.
func (s *Server) Stop() {
	s.mu.Lock()
	p := s.proc
	s.proc = nil
	s.mu.Unlock()
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// Save makes the next Restart find the data of this moment.
func (s *Server) Save(tb testing.TB) {
	tb.Helper()
	s.Do(tb, "SAVE")
}

// Restart starts the server on the same port and socket, after killing it if it runs.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		tb.Fatalf("redistest: restart: %v", err)
	}
}

// Forget removes what Save wrote.
func (s *Server) Forget(tb testing.TB) {
	tb.Helper()
	if err := os.Remove(filepath.Join(s.dir, "dump.rdb")); err != nil && !os.IsNotExist(err) {
		tb.Fatalf("redistest: %v", err)
	}
}

// Freeze stops the server from running without ending it: connections stay open
// and nothing answers.
func (s *Server) Freeze(tb testing.TB) { tb.Helper(); s.signal(tb, syscall.SIGSTOP) }

// Thaw lets a frozen server run again.
func (s *Server) Thaw(tb testing.TB) { tb.Helper(); s.signal(tb, syscall.SIGCONT) }

func (s *Server) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		tb.Fatal("redistest: the server is stopped")
	}
	if err := s.proc.cmd.Process.Signal(sig); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
}
