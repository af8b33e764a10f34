package simulation

import (
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// A stream is one direction of a connection. What is written is on its way until the network lets
// it arrive.
type stream struct {
	stir func() // tells the network that something is on its way

	mu       sync.Mutex
	onWay    [][]byte // one for each write
	frozen   bool     // who writes stands still
	late     [][]byte // what it writes when it goes on
	arrived  []byte
	ending   error         // what is read when all that was written has been; nil: the stream is open
	readable chan struct{} // closed, and replaced, when there is more to read
}

func newStream(stir func()) *stream { return &stream{stir: stir, readable: make(chan struct{})} }

func (s *stream) changed() {
	close(s.readable)
	s.readable = make(chan struct{})
}

// send puts bytes on their way.
func (s *stream) send(p []byte) error {
	s.mu.Lock()
	if s.ending != nil {
		s.mu.Unlock()
		return io.ErrClosedPipe
	}
	if p = slices.Clone(p); s.frozen {
		s.late = append(s.late, p)
	} else {
		s.onWay = append(s.onWay, p)
	}
	s.mu.Unlock()
	s.stir()
	return nil
}

// waiting tells whether anything is on its way.
func (s *stream) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.onWay) > 0
}

// deliver lets the oldest write arrive.
func (s *stream) deliver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.onWay) > 0 {
		s.arrived = append(s.arrived, s.onWay[0]...)
		s.onWay = s.onWay[1:]
		s.changed()
	}
}

func (s *stream) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = true
}

func (s *stream) thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onWay, s.late, s.frozen = append(s.onWay, s.late...), nil, false
}

// finish lets nothing more be written. What is on its way may still arrive, and err is read then.
func (s *stream) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending == nil {
		s.ending = err
		s.changed()
	}
}

// cut loses what is on its way.
func (s *stream) cut(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onWay, s.late = nil, nil
	if s.ending == nil {
		s.ending = err
	}
	s.changed()
}

// over tells that nothing can arrive any more.
func (s *stream) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overLocked()
}

func (s *stream) overLocked() bool { return s.ending != nil && len(s.onWay)+len(s.late) == 0 }

func (s *stream) read(p []byte, deadline *deadline) (int, error) {
	for {
		s.mu.Lock()
		if len(s.arrived) > 0 {
			n := copy(p, s.arrived)
			s.arrived = s.arrived[n:]
			s.mu.Unlock()
			return n, nil
		}
		if s.overLocked() {
			err := s.ending
			s.mu.Unlock()
			return 0, err
		}
		readable := s.readable
		s.mu.Unlock()
		select {
		case <-readable:
		case <-deadline.passed():
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// A deadline is a moment that may be moved while somebody waits for it.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  chan struct{} // closed when it has passed
}

func newDeadline() *deadline { return &deadline{over: make(chan struct{})} }

func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.over // the timer is closing it
	}
	d.timer = nil
	select {
	case <-d.over:
		d.over = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	over := d.over
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(over) })
	} else {
		close(over)
	}
}

// A conn is one end of a connection.
type conn struct {
	node     string
	server   string
	in, out  *stream
	deadline *deadline   // for reading; a write never waits
	hold     func() bool // waits while the node is frozen, and tells whether it was; nil: it never is
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p, c.deadline)
	if c.hold != nil && c.hold() && err != nil {
		n, err = c.in.read(p, c.deadline) // what has arrived meanwhile comes before the deadline that has passed
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) { return len(p), c.out.send(p) }

// Close lets what was written before it arrive, as TCP does.
func (c *conn) Close() error {
	c.out.finish(io.EOF)
	c.in.cut(net.ErrClosed)
	return nil
}

func (c *conn) LocalAddr() net.Addr               { return address(c.node) }
func (c *conn) RemoteAddr() net.Addr              { return address(c.server) }
func (c *conn) SetWriteDeadline(time.Time) error  { return nil }
func (c *conn) SetReadDeadline(t time.Time) error { c.deadline.set(t); return nil }
func (c *conn) SetDeadline(t time.Time) error     { c.deadline.set(t); return nil }

type address string

func (address) Network() string  { return "simulated" }
func (a address) String() string { return string(a) }
