package rabbitconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/internal/reconnect"
)

// ErrClosed is returned by a Holder after Close.
var ErrClosed = errors.New("rabbitmq: connection closed by us")

// Holding says how a Holder does it.
type Holding struct {
	// Logger is told, in Celery's words, when the connection is lost and why it cannot be made
	// again; nil: nobody is.
	Logger *slog.Logger
	// MaxRetries is how many attempts there are to make a lost connection again. 0: no limit;
	// negative: none.
	MaxRetries int
	// Prepare is called with each connection before it is given out. If it fails the connection is
	// closed, and made again later. It must end soon when ctx is done or the connection is lost.
	Prepare func(ctx context.Context, conn *Connection) error
}

// Holder has a connection, and makes another one when it is lost. It is safe for concurrent use.
type Holder struct {
	cfg    *Config
	opts   Holding
	ctx    context.Context //nolint:containedctx // it is the life of the goroutine
	cancel context.CancelFunc
	ended  chan struct{}

	reconnects atomic.Int64

	mu      sync.Mutex
	current *Connection
	changed chan struct{} // closed when current has changed
	failed  error         // why there will be no connection any more
	tried   error         // why the last attempt failed
	epoch   uint64
}

// Hold connects now, and fails if that is not possible. Where a Logger is told which of several servers cannot be reached, the
// error is about the last one. From then on there is a goroutine that keeps connected until Close.
func Hold(ctx context.Context, cfg *Config, opts Holding) (*Holder, error) {
	h := &Holder{cfg: cfg, opts: opts, ended: make(chan struct{}), changed: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, h.cancel)
	conn, err := h.dial(ctx)
	if err == nil {
		err = h.prepare(conn)
	}
	if !stop() {
		err = errors.Join(err, context.Cause(ctx))
	}
	if err != nil {
		h.cancel()
		if conn != nil {
			_ = conn.CloseBy(time.Now().Add(time.Second)) // what counts is err
		}
		return nil, err
	}
	h.set(conn, nil)
	go h.keep(conn)
	return h, nil
}

func (h *Holder) dial(ctx context.Context) (*Connection, error) {
	if h.opts.Logger == nil {
		return h.cfg.Dial(ctx)
	}
	var failed error
	conn := h.cfg.dialFirst(ctx, func(s *server, err error, last bool) {
		failed = &ConnError{Server: s.String(), Err: err}
		if !last {
			reconnect.LogFailover(h.opts.Logger, s.String(), described{err})
		}
	})
	if conn == nil {
		return nil, failed
	}
	return conn, nil
}

// String names the servers, passwords masked.
func (h *Holder) String() string { return h.cfg.String() }

// Config is what the connections are made with.
func (h *Holder) Config() *Config { return h.cfg }

// Current is the connection that there is right now, or nil.
func (h *Holder) Current() *Connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current
}

// Connected tells whether there is a connection right now.
func (h *Holder) Connected() bool { return h.Current() != nil }

// Reconnects is how often a lost connection has been made again.
func (h *Holder) Reconnects() int64 { return h.reconnects.Load() }

// Get returns the connection, and waits for it while there is none. If ctx is done meanwhile, the
// error says why the last attempt to connect failed.
func (h *Holder) Get(ctx context.Context) (*Connection, error) { return h.After(ctx, 0) }

// After is Get for a later connection than that of an epoch.
func (h *Holder) After(ctx context.Context, epoch uint64) (*Connection, error) {
	for {
		h.mu.Lock()
		current, changed, failed, tried := h.current, h.changed, h.failed, h.tried
		h.mu.Unlock()
		switch {
		case failed != nil:
			return nil, failed
		case current != nil && current.Epoch > epoch:
			return current, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if tried != nil {
				return nil, fmt.Errorf("%w: %w", context.Cause(ctx), tried)
			}
			return nil, context.Cause(ctx)
		}
	}
}

// Taking is Get for a connection on which the server takes messages: it waits while that is blocked, too.
func (h *Holder) Taking(ctx context.Context) (*Connection, error) {
	for {
		conn, err := h.Get(ctx)
		if err != nil {
			return nil, err
		}
		select {
		case <-conn.Unblocked():
			return conn, nil
		case <-conn.Done():
		case <-ctx.Done():
			return nil, conn.InVain(ctx)
		}
	}
}

// Close closes the connection, and waits for the server's answer until then at most.
func (h *Holder) Close(deadline time.Time) error {
	h.cancel()
	<-h.ended
	h.mu.Lock()
	conn := h.current
	h.mu.Unlock()
	h.set(nil, ErrClosed)
	if conn == nil || conn.IsClosed() {
		return nil
	}
	return conn.CloseBy(deadline)
}

func (h *Holder) prepare(conn *Connection) error {
	h.mu.Lock()
	h.epoch++
	conn.Epoch = h.epoch
	h.mu.Unlock()
	if h.opts.Prepare == nil {
		return nil
	}
	return h.opts.Prepare(h.ctx, conn)
}

func (h *Holder) set(conn *Connection, failed error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current, h.tried = conn, nil
	if h.failed == nil {
		h.failed = failed
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

// keep lives until Close, or until it is not tried any more.
func (h *Holder) keep(conn *Connection) {
	defer close(h.ended)
	for {
		select {
		case <-conn.Done():
		case <-h.ctx.Done():
			return
		}
		h.set(nil, nil)
		err := conn.Err()
		if h.opts.MaxRetries < 0 {
			h.say(func(log *slog.Logger) { reconnect.LogDisabled(log, err) })
			h.set(nil, fmt.Errorf("the connection to %s was lost: %w", conn, err))
			return
		}
		h.say(func(log *slog.Logger) { reconnect.LogLost(log, conn.String(), described{err}) })
		if conn = h.again(); conn == nil {
			return
		}
		h.reconnects.Add(1)
		h.say(func(log *slog.Logger) { reconnect.LogConnected(log, conn.String()) })
		h.set(conn, nil)
	}
}

// lookEvery is the longest pause until it is looked again whether a server is back, half of it the shortest.
const lookEvery = time.Second

// again connects as kombu does: each server at once, from the first on, and then after 2, 4, … s. In between it is looked
// whether a server is back that nobody had reached, of which nobody is told. One that has refused to serve us is not looked for:
// it writes that down, and what is wrong is seldom mended soon.
// nil: there will be no connection any more, and everybody knows.
func (h *Holder) again() *Connection {
	round, tries, refused := 0, 0, false
	for next := time.Now(); ; {
		counts := !time.Now().Before(next)
		if counts {
			round++
			refused = false
		}
		servers := h.cfg.order()
		for i, s := range servers {
			conn, err := h.try(s)
			if err == nil {
				return conn
			}
			if h.ctx.Err() != nil {
				return nil
			}
			refused = refused || Code(err) != 0
			if !counts {
				continue
			}
			tries++
			h.failedOnce(&ConnError{Server: s.String(), Err: err})
			if most := h.opts.MaxRetries; most > 0 && tries > most {
				h.say(func(log *slog.Logger) { reconnect.LogGivenUp(log, described{err}) })
				h.set(nil, fmt.Errorf("cannot connect to %s again: %w", s, err))
				return nil
			}
			if i < len(servers)-1 {
				h.say(func(log *slog.Logger) { reconnect.LogFailover(log, s.String(), described{err}) })
			} else {
				h.say(func(log *slog.Logger) { reconnect.LogRetry(log, s.String(), described{err}, round, h.opts.MaxRetries) })
			}
		}
		if counts {
			next = time.Now().Add(reconnect.Delay(round))
		}
		pause := time.Until(next)
		if !refused {
			pause = min(pause, lookEvery/2+rand.N(lookEvery/2)) //nolint:gosec // jitter
		}
		select {
		case <-time.After(pause):
		case <-h.ctx.Done():
			return nil
		}
	}
}

// try connects with a server.
func (h *Holder) try(s *server) (*Connection, error) {
	conn, err := h.cfg.dialServer(h.ctx, s)
	if err != nil {
		return nil, err
	}
	if err := h.prepare(conn); err != nil {
		_ = conn.CloseBy(time.Now().Add(time.Second)) // it is of no use
		return nil, err
	}
	return conn, nil
}

func (h *Holder) failedOnce(err error) {
	h.mu.Lock()
	h.tried = err
	h.mu.Unlock()
}

func (h *Holder) say(line func(log *slog.Logger)) {
	if h.opts.Logger != nil {
		line(h.opts.Logger)
	}
}

// Described is an error that reads as Describe has it.
func Described(err error) error { return described{err} }

type described struct{ error }

func (d described) Error() string { return Describe(d.error) }
func (d described) Unwrap() error { return d.error }
