package redistest

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// Faults is a network between a client and a server that loses what it is told to. Its Dial
// goes into connection.Options.Dial. Connections are broken as a whole, as they are in
// life: what else is in flight on them gets no answer either.
type Faults struct {
	mu     sync.Mutex
	text   []byte // of the command that is lost next; nil: none is
	delays bool   // the command itself is held back, not only its answer
	kills  bool   // with the answer goes the client
	left   int    // how often
	held   []held
	conns  []*faulty
	dead   bool
}

// held is what a client has sent on a connection that it takes for dead.
type held struct {
	conn net.Conn
	sent []byte
}

// LoseAnswers has the connection break at the answers to the next n commands that contain
// text: the server has run them, and the client does not know.
func (f *Faults) LoseAnswers(text string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text, f.left, f.delays = []byte(text), n, false
}

// Die has the client die, for all that the server can see, when the next command that contains
// text has been run.
func (f *Faults) Die(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text, f.left, f.kills = []byte(text), 1, true
}

// Delay holds back the next command that contains text. Its connection breaks for the client;
// the server gets the command at Deliver.
func (f *Faults) Delay(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text, f.left, f.delays = []byte(text), 1, true
}

// Revive brings a client back to life that has died.
func (f *Faults) Revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead, f.kills, f.conns = false, false, nil
}

// Dead tells whether the client has died.
func (f *Faults) Dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

// Left returns how many faults have not happened yet.
func (f *Faults) Left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left
}

// Deliver brings to the server what was held back, and returns when the server has answered.
func (f *Faults) Deliver(tb testing.TB) {
	tb.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.held {
		_ = h.conn.SetReadDeadline(time.Time{}) // if it fails, so does reading
		if _, err := h.conn.Write(h.sent); err != nil {
			tb.Errorf("redistest: what was held back: %v", err)
		}
		if _, err := h.conn.Read(make([]byte, 1)); err != nil {
			tb.Errorf("redistest: the answer to what was held back: %v", err)
		}
		h.conn.Close()
	}
	f.held = nil
}

// Dial connects.
func (f *Faults) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		conn.Close()
		return nil, net.ErrClosed
	}
	c := &faulty{Conn: conn, faults: f}
	f.conns = append(f.conns, c)
	return c, nil
}

// answered is called when an answer that is to be lost has come.
func (f *Faults) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.kills {
		return
	}
	f.dead = true
	for _, c := range f.conns {
		c.Conn.Close()
	}
}

// faulty is one connection.
type faulty struct {
	net.Conn
	faults *Faults

	mu       sync.Mutex
	doomed   bool // the next that is read is the answer that gets lost
	detached bool // the client has lost it, Faults has it
}

// faultAt tells what becomes of what is sent.
func (f *Faults) faultAt(sent []byte) (lose, hold bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 || !bytes.Contains(sent, f.text) {
		return false, false
	}
	f.left--
	return !f.delays, f.delays
}

func (c *faulty) Write(sent []byte) (int, error) {
	lose, hold := c.faults.faultAt(sent)
	c.mu.Lock()
	c.doomed = c.doomed || lose
	c.detached = c.detached || hold
	c.mu.Unlock()
	if !hold {
		return c.Conn.Write(sent)
	}
	c.faults.mu.Lock()
	c.faults.held = append(c.faults.held, held{c.Conn, bytes.Clone(sent)})
	c.faults.mu.Unlock()
	return 0, net.ErrClosed
}

func (c *faulty) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.doomed && err == nil {
		c.Conn.Close()
		c.faults.answered()
		return 0, net.ErrClosed
	}
	return n, err
}

// Close leaves a connection open that was taken away from the client, who reads no more of it.
func (c *faulty) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.detached {
		return c.SetReadDeadline(time.Now())
	}
	return c.Conn.Close()
}
