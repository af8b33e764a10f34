package worker

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/apium/apium/broker"
)

// large holds the requests whose messages take long to decode, or are read by an executor. They are
// decoded one after the other on a goroutine of their own, while others are claimed.
type large struct {
	decode func(context.Context, *request)
	wake   chan struct{} // capacity 1: something waits

	mu      sync.Mutex
	waiting []*request
	closed  bool
}

func newLarge(decode func(context.Context, *request)) *large {
	return &large{decode: decode, wake: make(chan struct{}, 1)}
}

// largeFrom is how many bytes a message has that takes long to decode. So may a compressed
// one, however short it is.
const largeFrom = 256 << 10

// compressed is the end of the header's name: looking for it is quick, as its first byte is rare.
var compressed = []byte(`mpression"`)

func isLarge(c broker.Content) bool { return c.Size >= largeFrom || bytes.Contains(c.Raw, compressed) }

// add has a request decoded. It reports false after close.
func (l *large) add(r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.waiting = append(l.waiting, r)
		signal(l.wake)
	}
	return !l.closed
}

func (l *large) next() *request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil
	}
	r := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	return r
}

// run decodes until ctx is done.
func (l *large) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		for r := l.next(); r != nil; r = l.next() {
			l.decode(ctx, r)
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// close returns the requests that were not decoded.
func (l *large) close() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.waiting
	l.waiting, l.closed = nil, true
	return left
}
