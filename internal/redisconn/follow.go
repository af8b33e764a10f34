package redisconn

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// followEvery is how often the Sentinels are asked who the master is while there are connections to one.
const followEvery = 2 * time.Second

// follower closes the connections to a server that has been replaced as the master. Such a server may live: it hung, or
// was cut off, for so long that the Sentinels have promoted another one. When it goes on, it takes itself for the master until
// they tell it, which takes them ten seconds, and forgets then whatever it was told meanwhile.
type follower struct {
	mu    sync.Mutex
	conns map[*followed]bool
	stop  context.CancelFunc // ends what looks; there is one while there are connections
}

// followed is a connection to what was the master when it was made.
type followed struct {
	net.Conn
	follower *follower
	addr     string // as the Sentinels have it
	replaced atomic.Bool
}

// follow has a new connection to a master be closed when that is replaced.
func (c *Config) follow(nc net.Conn, addr string) net.Conn {
	f := &c.follower
	conn := &followed{Conn: nc, follower: f, addr: addr}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil {
		f.conns = make(map[*followed]bool)
	}
	if len(f.conns) == 0 {
		ctx, cancel := context.WithCancel(context.Background())
		f.stop = cancel
		go c.lookForMaster(ctx)
	}
	f.conns[conn] = true
	return conn
}

// lookForMaster looks who the master is until ctx is done.
func (c *Config) lookForMaster(ctx context.Context) {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		looking, cancel := context.WithTimeout(ctx, c.opts.SocketConnectTimeout)
		c.leaveReplaced(looking)
		cancel()
	}
}

// leaveReplaced closes what leads to another server than the master, once that has answered and says that it is the master.
func (c *Config) leaveReplaced(ctx context.Context) {
	var now *followed
	conn, addr, err := c.dialMaster(ctx, func(nc net.Conn) net.Conn {
		now, _ = nc.(*followed)
		_ = nc.SetDeadline(time.Now().Add(c.opts.SocketConnectTimeout)) // it is asked its role without a context
		return nc
	})
	if err != nil {
		return // it is looked again
	}
	defer conn.Close()
	c.follower.mu.Lock()
	defer c.follower.mu.Unlock()
	for other := range c.follower.conns {
		if other.addr != addr && other.RemoteAddr().String() != now.RemoteAddr().String() {
			other.replaced.Store(true)
			_ = other.Conn.Close() // whoever uses it hears of it, and closes it
		}
	}
}

// Read returns errReplaced when the connection has ended because there is another master.
func (c *followed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.why(err)
}

// Write is as Read in this.
func (c *followed) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.why(err)
}

func (c *followed) why(err error) error {
	if err != nil && c.replaced.Load() {
		return errReplaced
	}
	return err
}

// Close closes the connection. With the last one, nobody looks any more.
func (c *followed) Close() error {
	f := c.follower
	f.mu.Lock()
	if f.conns[c] {
		if delete(f.conns, c); len(f.conns) == 0 {
			f.stop()
		}
	}
	f.mu.Unlock()
	return c.Conn.Close()
}
