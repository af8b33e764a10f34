package redisconn

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
)

// listenPing is how often a connection that only listens has the server say something.
const listenPing = 2 * time.Second

// DialListener returns a connection for SUBSCRIBE, without a time limit for what is
// received: it is closed when it has died in silence, as a Pipeline notices it. ping is
// called now and then to send a PING; it sees to it that nobody else sends meanwhile.
// Errors are as those of Dial.
func (c *Config) DialListener(ctx context.Context, ping func(redis.Conn)) (redis.Conn, error) {
	l := &listener{done: make(chan struct{})}
	var err error
	l.Conn, _, err = c.dial(ctx, func(nc net.Conn) net.Conn { return counted{nc, &l.in} })
	if err != nil {
		return nil, err
	}
	if c.opts.HealthCheckInterval < 0 {
		return l, nil
	}
	every, last := min(listenPing, c.opts.HealthCheckInterval), time.Now()
	pinged := int64(-1) // bytes that had arrived at the last PING
	dog := &watchdog{
		cfg: c, in: l.in.Load, out: func() int64 { return 0 }, sending: func() bool { return false },
		due:  func() bool { return pinged == l.in.Load() },
		fail: func(error) { l.Conn.Close() },
		tick: func() {
			if time.Since(last) >= every && pinged != l.in.Load() {
				last, pinged = time.Now(), l.in.Load()
				ping(l.Conn)
			}
		},
	}
	go dog.run(l.done)
	return l, nil
}

// listener is a connection with a watchdog.
type listener struct {
	redis.Conn
	in   atomic.Int64
	done chan struct{}
	once sync.Once
}

// Close does not wait for the watchdog, which may be waiting for its caller to let it send.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Conn.Close()
}

// counted counts what arrives.
type counted struct {
	net.Conn
	in *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(int64(n))
	return n, err
}
