package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Pipeline is one connection that many goroutines share: whatever they have in
// flight goes out in one write, and each waits for its own reply only. It connects
// by itself, and again after a failure, until it is closed. Commands that block
// the connection (BLMOVE, SUBSCRIBE, MULTI) have no place on it.
type Pipeline struct {
	cfg  *Config
	opts PipelineOptions

	ctx    context.Context //nolint:containedctx // done: closed
	cancel context.CancelFunc
	ended  chan struct{} // closed when the run goroutine has ended

	reconnects atomic.Int64
	calls      sync.Pool // of *call, none of them in flight

	mu      sync.Mutex
	session *session      // nil while disconnected
	changed chan struct{} // closed and replaced when session or lastErr changes
	lastErr error         // why there is no session; nil before the first attempt ended
}

// PipelineOptions tune a Pipeline. The zero value is fine.
type PipelineOptions struct {
	// FailFast: while disconnected, Do returns the last error at once. Otherwise it
	// waits for the connection until its context is done. Errors that waiting does
	// not mend (IsConfig) are returned at once in either case.
	FailFast bool
	// OnState is told when the connection is made (true, nil), lost, and after
	// every attempt that failed (false, why). It must not block.
	OnState func(connected bool, err error)
}

// NewPipeline starts connecting and returns at once.
func NewPipeline(cfg *Config, opts PipelineOptions) *Pipeline {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pipeline{
		cfg: cfg, opts: opts, ctx: ctx, cancel: cancel,
		ended:   make(chan struct{}),
		changed: make(chan struct{}),
	}
	go p.run()
	return p
}

// Reconnects returns how often a lost connection has been made again.
func (p *Pipeline) Reconnects() int64 { return p.reconnects.Load() }

// Close ends the connection. Calls in flight fail with ErrClosed.
func (p *Pipeline) Close() error {
	p.cancel()
	p.mu.Lock()
	if p.session != nil {
		p.session.conn.Close()
	}
	p.mu.Unlock()
	<-p.ended
	return nil
}

// Do sends a command and returns its reply, as redigo does: nil, int64, string,
// []byte, []any, or an error (redis.Error for one sent by the server). When ctx
// ends first, the command may still run. A *ConnError says that the connection
// broke; if Op is "connect" the command was not sent, otherwise its fate is unknown.
// Large arguments are not copied: what a []byte holds must never change, whatever Do returns.
func (p *Pipeline) Do(ctx context.Context, cmd string, args ...any) (any, error) {
	reply, err := p.do(ctx, cmd, args)
	if err != nil {
		err = Explained(err, cmd, args...)
	}
	return reply, err
}

// do is Do for who explains errors.
func (p *Pipeline) do(ctx context.Context, cmd string, args []any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := newCall(&p.calls)
	p.mu.Lock()
	for p.session == nil {
		if err := p.waitSession(ctx); err != nil { // unlocks and locks
			p.mu.Unlock()
			c.free()
			return nil, err
		}
	}
	err := p.session.send(c, cmd, args)
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.wait(ctx)
}

// waitSession waits for the session to change. p.mu is held on entry and on return.
func (p *Pipeline) waitSession(ctx context.Context) error {
	if p.ctx.Err() != nil {
		return ErrClosed
	}
	if p.lastErr != nil && (p.opts.FailFast || IsConfig(p.lastErr)) {
		return p.lastErr
	}
	changed := p.changed
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-p.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lastErr != nil {
		return fmt.Errorf("%w while waiting for the connection: %w", ctx.Err(), p.lastErr)
	}
	return ctx.Err()
}

// run keeps a connection up until the Pipeline is closed.
func (p *Pipeline) run() {
	defer close(p.ended)
	defer p.setSession(nil, ErrClosed)
	var pace Pace
	for connected := false; ; {
		s, err := p.connect()
		if err == nil {
			if connected {
				p.reconnects.Add(1)
			}
			connected = true
			start := time.Now()
			p.setSession(s, nil)
			if p.ctx.Err() != nil {
				s.conn.Close() // Close may have come too early to see it
			}
			err = s.serve()
			pace.Lasted(time.Since(start))
		}
		if p.ctx.Err() != nil {
			return
		}
		p.setSession(nil, err)
		select {
		case <-time.After(pace.Next()):
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Pipeline) connect() (*session, error) {
	var w *wire
	conn, addr, err := p.cfg.dial(p.ctx, func(nc net.Conn) net.Conn {
		w = newWire(nc)
		return w
	})
	if err != nil {
		return nil, err
	}
	w.establish()
	return newSession(p, conn, w, addr), nil
}

func (p *Pipeline) setSession(s *session, err error) {
	p.mu.Lock()
	p.session, p.lastErr = s, err
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	if p.opts.OnState != nil && !errors.Is(err, ErrClosed) {
		p.opts.OnState(s != nil, err)
	}
}
