package rabbitconn

import (
	"net"
	"sync"
)

// corkMost is how much is kept back at most.
const corkMost = 64 << 10

// corked is a network connection whose writes may be kept back for a moment, to be sent in one
// piece: the library writes each frame by itself.
type corked struct {
	net.Conn

	mu    sync.Mutex
	corks int
	kept  []byte
}

func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.corks == 0 {
		return c.Conn.Write(p)
	}
	c.kept = append(c.kept, p...)
	if len(c.kept) < corkMost {
		return len(p), nil
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *corked) flush() error {
	if len(c.kept) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.kept)
	c.kept = c.kept[:0]
	return err
}

func (c *corked) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corks++
}

func (c *corked) uncork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.corks--; c.corks > 0 {
		return
	}
	if c.flush() != nil {
		c.Close() // who reads finds out
	}
}

// Together sends in one piece what write writes to the connection's channels, be it messages or
// acknowledgements, if it is not too much. write must not wait for answers.
func (c *Connection) Together(write func()) {
	c.cork.cork()
	defer c.cork.uncork()
	write()
}
