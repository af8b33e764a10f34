package python

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"
)

// standin is a process that stands in for Celery's MainProcess: driver/standin.py. Both
// sides send a JSON object per line. It is asked one thing after the other, and news
// may be lost if it does not keep up.
type standin struct {
	server  *server
	conn    *net.UnixConn
	kill    func()
	release func()                      // called when it has ended
	stopped func(cold bool, status int) // the app's code has ended the worker
	pid     int
	began   time.Time
	lines   chan []byte   // to be written
	gone    chan struct{} // closed when it has ended

	mu   sync.Mutex
	asks map[uint64]chan replied
	last uint64
}

// replied is what comes from a stand-in: an answer, or that the worker is to end.
type replied struct {
	ID     uint64 `json:"ask"`
	Value  string `json:"value"` // Python's JSON
	Error  string `json:"error"`
	Up     int    `json:"up"` // its pid, first of all
	Stop   string `json:"stop"`
	Status int    `json:"status"`
}

const (
	// newsKept is how many lines may wait for a stand-in that is busy.
	newsKept = 1024
	// hangs is how long a stand-in may take for one thing before it is taken to hang.
	hangs = time.Minute
)

var (
	errNoStandin = errors.New("the process that stands in for Celery's MainProcess has ended")
	errNoAnswer  = errors.New("the process that stands in for Celery's MainProcess does not answer in time")
)

// raiseStandin has a stand-in forked, and returns when it is up.
func raiseStandin(ctx context.Context, server *server, number int, stopped func(cold bool, status int)) (*standin, error) {
	conn, theirs, err := connection()
	if err != nil {
		return nil, err
	}
	server.hold()
	server.say(map[string]any{"op": "spawn", "child": number, "index": 0, "standin": true}, theirs)
	_ = theirs.Close() // if there is no fork server any more, what follows fails
	s := newStandin(conn, stopped)
	lines := bufio.NewReader(conn)
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetReadDeadline(time.Now().Add(server.manifest.aliveTimeout()))
	first, err := s.read(lines)
	if err != nil {
		server.release()
		return nil, errors.Join(fmt.Errorf("python: the stand-in for the MainProcess does not come up: %w", err), conn.Close())
	}
	_ = conn.SetReadDeadline(time.Time{})
	s.pid, s.server, s.release = first.Up, server, server.release
	s.kill = func() { server.kill(number, sigKill, 0); _ = conn.Close() }
	s.serve(lines)
	return s, nil
}

func newStandin(conn *net.UnixConn, stopped func(cold bool, status int)) *standin {
	return &standin{
		conn: conn, stopped: stopped, release: func() {}, began: time.Now(), lines: make(chan []byte, newsKept), gone: make(chan struct{}), asks: map[uint64]chan replied{},
	}
}

// serve reads and writes until the stand-in has ended.
func (s *standin) serve(lines *bufio.Reader) {
	go s.write()
	go func() {
		defer s.release()
		defer close(s.gone)
		for {
			r, err := s.read(lines)
			if err != nil {
				s.kill()
				return
			}
			s.hear(r)
		}
	}()
}

func (s *standin) read(lines *bufio.Reader) (r replied, err error) {
	line, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	return r, err
}

func (s *standin) hear(r replied) {
	if r.Stop != "" {
		s.stopped(r.Stop == "cold", r.Status)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer, ok := s.asks[r.ID]; ok {
		delete(s.asks, r.ID)
		answer <- r
	}
}

func (s *standin) write() {
	for {
		select {
		case line := <-s.lines:
			_ = s.conn.SetWriteDeadline(time.Now().Add(hangs))
			if _, err := s.conn.Write(append(line, '\n')); err != nil {
				s.kill()
				return
			}
		case <-s.gone:
			return
		}
	}
}

// ask has the stand-in do something and returns its answer. If there is none for too long,
// the stand-in is ended, even when nobody waits any more.
func (s *standin) ask(ctx context.Context, op string, with map[string]any, hangs time.Duration) (json.RawMessage, error) {
	answer := make(chan replied, 1)
	s.mu.Lock()
	s.last++
	id := s.last
	s.asks[id] = answer
	s.mu.Unlock()
	asked := maps.Clone(with)
	if asked == nil {
		asked = map[string]any{}
	}
	asked["op"], asked["ask"] = op, id
	line, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	time.AfterFunc(hangs, func() {
		if s.awaits(id) {
			s.kill()
		}
	})
	select {
	case s.lines <- line:
	case <-s.gone:
		return nil, errNoStandin
	case <-ctx.Done():
		return nil, errNoAnswer
	}
	select {
	case r := <-answer:
		if r.Error != "" {
			return nil, &raisedError{r.Error}
		}
		return json.RawMessage(r.Value), nil
	case <-s.gone:
		return nil, errNoStandin
	case <-ctx.Done():
		return nil, errNoAnswer
	}
}

func (s *standin) hasEnded() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

func (s *standin) awaits(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.asks[id]
	return ok
}

// tell has the stand-in told of something. It reports false if there was no room for that.
func (s *standin) tell(line []byte) bool {
	select {
	case s.lines <- line:
		return true
	default:
		return false
	}
}

// close has the stand-in end.
func (s *standin) close(patience time.Duration) {
	_ = s.conn.CloseWrite()
	select {
	case <-s.gone:
	case <-time.After(patience):
		s.kill()
		<-s.gone
	}
}

// raisedError is an exception of the app's code, as Python's repr has it.
type raisedError struct{ repr string }

func (e *raisedError) Error() string { return e.repr }
