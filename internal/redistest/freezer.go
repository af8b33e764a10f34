package redistest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Freezer is a network on which established connections can die in silence: nothing that is
// sent arrives any more, on either side, and no side is told. New connections work. Its Dial
// goes into connection.Options.Dial.
type Freezer struct {
	mu    sync.Mutex
	conns []*freezable
}

// NewFreezer returns a network whose dead connections end with the test, for the server.
func NewFreezer(tb testing.TB) *Freezer {
	f := &Freezer{}
	tb.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, c := range f.conns {
			c.Conn.Close()
		}
	})
	return f
}

// Freeze has the connections that there are die, and returns how many there were.
func (f *Freezer) Freeze() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		if c.freeze() {
			n++
		}
	}
	return n
}

// Dial connects.
func (f *Freezer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &freezable{Conn: conn}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, c)
	return c, nil
}

// freezable is one connection.
type freezable struct {
	net.Conn // stays open once frozen: the server hears of nothing

	mu       sync.Mutex
	hole     net.Conn // frozen: what is written is lost, and nothing comes
	deadline time.Time
	closed   bool
}

func (c *freezable) freeze() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.hole != nil {
		return false
	}
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }() // ends when near is closed
	_ = near.SetReadDeadline(c.deadline)
	c.hole = near
	_ = c.Conn.SetReadDeadline(time.Now()) // who reads goes on with the hole
	return true
}

func (c *freezable) now() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hole != nil {
		return c.hole
	}
	return c.Conn
}

func (c *freezable) Read(b []byte) (int, error) {
	conn := c.now()
	n, err := conn.Read(b)
	if later := c.now(); later != conn {
		return later.Read(b)
	}
	return n, err
}

func (c *freezable) Write(b []byte) (int, error) { return c.now().Write(b) }

func (c *freezable) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if c.hole != nil {
		return c.hole.SetReadDeadline(t)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *freezable) SetDeadline(t time.Time) error {
	_ = c.now().SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

func (c *freezable) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.hole != nil {
		return c.hole.Close()
	}
	return c.Conn.Close()
}
