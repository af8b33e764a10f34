package rabbitconn

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Later is a Holder that connects when it is first needed. It is safe for concurrent use: who waits for the first
// connection keeps nobody from anything else.
type Later struct {
	cfg  *Config
	opts Holding
	turn chan struct{} // has an element while somebody connects for the first time, and after Close

	closing sync.Mutex
	closed  chan struct{}
	holder  atomic.Pointer[Holder] // nil: it was not needed yet
}

// HoldLater connects to nothing.
func HoldLater(cfg *Config, opts Holding) *Later {
	return &Later{cfg: cfg, opts: opts, turn: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Get returns the connection, and waits for it while it is lost. If it was never there, it fails when it cannot
// be made now. After Close the error is ErrClosed.
func (l *Later) Get(ctx context.Context) (*Connection, error) {
	holder, err := l.hold(ctx)
	if err != nil {
		return nil, err
	}
	return holder.Get(ctx)
}

// Taking is Get for a connection on which the server takes messages, as that of Holder.
func (l *Later) Taking(ctx context.Context) (*Connection, error) {
	holder, err := l.hold(ctx)
	if err != nil {
		return nil, err
	}
	return holder.Taking(ctx)
}

func (l *Later) hold(ctx context.Context) (*Holder, error) {
	if holder := l.holder.Load(); holder != nil {
		return holder, nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-l.closed:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if holder := l.holder.Load(); holder != nil {
		return holder, nil
	}
	if l.IsClosed() {
		return nil, ErrClosed
	}
	holder, err := Hold(ctx, l.cfg, l.opts)
	if err != nil {
		return nil, err
	}
	l.holder.Store(holder)
	return holder, nil
}

// Reconnects is how often the connection has been made again.
func (l *Later) Reconnects() int64 {
	if holder := l.holder.Load(); holder != nil {
		return holder.Reconnects()
	}
	return 0
}

// Closed is closed by Close, before the connection is.
func (l *Later) Closed() <-chan struct{} { return l.closed }

// IsClosed tells whether Close was called.
func (l *Later) IsClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// Close ends the connection, if there is one, and waits for the server's answer for some time at most: as all that was
// sent is confirmed, it makes no difference whether that comes. Before that, last is called with the connection; nil:
// nothing is. Later calls do nothing.
func (l *Later) Close(patience time.Duration, last func(*Connection)) {
	l.closing.Lock()
	already := l.IsClosed()
	if !already {
		close(l.closed)
	}
	l.closing.Unlock()
	if already {
		return
	}
	l.turn <- struct{}{} // nobody connects any more
	holder := l.holder.Load()
	if holder == nil {
		return
	}
	if conn := holder.Current(); conn != nil && last != nil {
		last(conn)
	}
	_ = holder.Close(time.Now().Add(patience))
}
