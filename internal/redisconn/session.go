package redisconn

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
)

// session is one connection of a Pipeline from its making to its failure.
//
// Three goroutines serve it: the Pipeline's run goroutine receives (serve), write
// sends what has gathered, watch looks for a server that has fallen silent. All
// end when the connection is closed, by whoever finds it broken first.
type session struct {
	p    *Pipeline
	conn redis.Conn
	wire *wire
	addr string
	end  chan struct{} // closed when serve is about to return
	wake chan struct{} // capacity 1: there is output

	sent     atomic.Int64 // commands, changed under p.mu
	answered atomic.Int64 // replies, changed by serve

	// Under p.mu.
	pending []*call // sent and not yet taken by serve, in order
	writing bool    // write knows that there is output
	cause   error   // why we closed the connection, if we did
}

func newSession(p *Pipeline, conn redis.Conn, w *wire, addr string) *session {
	return &session{
		p: p, conn: conn, wire: w, addr: addr,
		end:  make(chan struct{}),
		wake: make(chan struct{}, 1),
	}
}

// send encodes a command and enters c for its reply. p.mu is held.
func (s *session) send(c *call, cmd string, args []any) error {
	if err := s.encode(cmd, args); err != nil {
		// Half a command may have been written: nothing can follow it.
		s.fail(err)
		c.free()
		return s.connError(err)
	}
	s.pending = append(s.pending, c)
	s.sent.Add(1)
	if !s.writing {
		s.writing = true
		s.wake <- struct{}{}
	}
	return nil
}

// fail closes the connection for a reason of ours. p.mu is held.
func (s *session) fail(err error) {
	if s.cause == nil {
		s.cause = err
	}
	s.conn.Close()
}

func (s *session) connError(err error) error {
	if s.p.ctx.Err() != nil {
		return ErrClosed
	}
	return &ConnError{Op: "use", Addr: s.addr, Err: err}
}

// serve receives replies until the connection breaks, then fails what is in flight.
func (s *session) serve() error {
	var wg sync.WaitGroup
	wg.Go(s.write)
	wg.Go(s.watch)
	batch, err := s.receive()

	s.p.mu.Lock()
	s.p.session = nil // nothing is sent on it from here on
	s.fail(err)
	err = s.connError(s.cause)
	batch = append(batch, s.pending...)
	s.pending = nil
	s.p.mu.Unlock()
	close(s.end)
	for _, c := range batch {
		c.answer(nil, err)
	}
	wg.Wait()
	return err
}

// receive answers calls until the connection breaks. It returns the calls that it
// had taken and not answered.
func (s *session) receive() (batch []*call, err error) {
	var spare []*call
	next := 0
	for {
		reply, err := s.conn.Receive()
		var serverErr redis.Error
		if err != nil && !errors.As(err, &serverErr) {
			return batch[next:], err
		}
		if next == len(batch) {
			clear(batch)
			spare = batch[:0]
			s.p.mu.Lock()
			batch, s.pending = s.pending, spare
			s.p.mu.Unlock()
			next = 0
			if len(batch) == 0 {
				return nil, fmt.Errorf("a reply to no command: %v", reply)
			}
		}
		c := batch[next]
		next++
		s.answered.Add(1)
		c.answer(reply, err)
		if isReadOnly(err) {
			// The master was demoted under us: another dial may find the new one.
			return batch[next:], err
		}
	}
}

// write sends what has gathered: at once while the server has nothing to answer, and else in as few system calls as the
// load allows.
func (s *session) write() {
	var out outgoing
	var written int64 // commands
	for {
		select {
		case <-s.wake:
		case <-s.end:
			return
		}
		for {
			if s.answered.Load() < written {
				runtime.Gosched()
			}
			s.p.mu.Lock()
			err := s.conn.Flush()
			out, written = s.wire.take(out), s.sent.Load()
			if err != nil || out.empty() {
				s.writing = false
				s.p.mu.Unlock()
				break
			}
			s.p.mu.Unlock()
			if err := s.wire.send(out); err != nil {
				s.p.mu.Lock()
				s.fail(err)
				s.p.mu.Unlock()
				break // s.writing stays set: nobody wakes us again
			}
		}
	}
}

// watch closes the connection when it has died in silence, or an answer is due and nothing
// has arrived for ReadTimeout, and sends a PING when it was idle for HealthCheck.
func (s *session) watch() {
	var sent int64
	used := time.Now() // when something was last sent
	idle := func() bool { return s.answered.Load() >= s.sent.Load() }
	dog := &watchdog{
		cfg: s.p.cfg, in: s.wire.bytesIn.Load, out: s.wire.bytesOut.Load, sending: s.wire.sending.Load,
		due: func() bool { return !idle() },
		fail: func(err error) {
			s.p.mu.Lock()
			defer s.p.mu.Unlock()
			s.fail(err)
		},
		tick: func() {
			if n := s.sent.Load(); n != sent {
				sent, used = n, time.Now()
			}
			if health := s.p.cfg.opts.HealthCheckInterval; health > 0 && idle() && time.Since(used) >= health {
				s.ping()
			}
		},
	}
	dog.run(s.end)
}

// ping sends a PING nobody waits for.
func (s *session) ping() {
	c := newCall(&s.p.calls)
	c.state.Store(abandoned)
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.session == s {
		_ = s.send(c, "PING", nil) // a failure ends the session, which says so
	}
}
