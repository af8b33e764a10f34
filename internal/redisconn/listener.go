package redisconn

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
)

// listenPing is how long the server may say nothing on a connection that only listens before it is asked to. It is asked at
// once when an answer is late anywhere: what has happened to one connection may have happened to all.
const listenPing = 25 * time.Second

// doubts counts how often an answer was late in this process.
var doubts atomic.Int64

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
	every, last := min(listenPing, c.opts.HealthCheckInterval), time.Now() // last: when something had arrived, or was asked for
	heard, pinged, doubted := l.in.Load(), int64(-1), doubts.Load()        // bytes that had arrived, and had at the last PING
	dog := &watchdog{
		cfg: c, in: l.in.Load, out: func() int64 { return 0 }, sending: func() bool { return false },
		due:  func() bool { return pinged == l.in.Load() },
		fail: func(error) { l.Conn.Close() },
		tick: func() {
			if in := l.in.Load(); in != heard {
				heard, last = in, time.Now()
			}
			if now := doubts.Load(); pinged != heard && (time.Since(last) >= every || now != doubted) {
				last, pinged, doubted = time.Now(), heard, now
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
