//go:build !noembedded

// Package embedded runs a Redis in this process, so that the first try needs
// nothing installed. It keeps everything in memory and is not for production: programs that are
// built with the tag noembedded have none, and are 2 MB smaller.
package embedded

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// tick is how often keys age. The clock of miniredis stands still by itself, and
// its own remedy walks through all keys with every command.
const tick = time.Second

// Server is a running in-process Redis.
type Server struct {
	redis   *miniredis.Miniredis
	stop    chan struct{}
	stopped chan struct{}
}

// Start listens on 127.0.0.1, so that Python processes on this machine can
// connect too. Port 0 takes any free port.
func Start(port int) (*Server, error) {
	redis := miniredis.NewMiniRedis()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := redis.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("embedded Redis: %w", err)
	}
	s := &Server{redis: redis, stop: make(chan struct{}), stopped: make(chan struct{})}
	go s.age()
	return s, nil
}

// URL is the server's address as a Celery broker_url: redis://127.0.0.1:<port>/0.
func (s *Server) URL() string { return "redis://" + s.redis.Addr() + "/0" }

// Close stops the server and forgets its data. It must be called once.
func (s *Server) Close() {
	close(s.stop)
	<-s.stopped
	s.redis.Close()
}

// age lets keys expire as time goes by.
func (s *Server) age() {
	defer close(s.stopped)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-s.stop:
			return
		case now := <-ticker.C:
			s.redis.FastForward(now.Sub(last))
			last = now
		}
	}
}
