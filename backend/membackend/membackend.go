// Package membackend is a result backend in memory, for tests. It waits on
// channels only, so it works in a testing/synctest bubble.
package membackend

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
)

// Backend keeps records until it is closed. Its methods are safe for concurrent use.
type Backend struct {
	mu      sync.Mutex
	records map[string][]byte
	waits   map[string]chan struct{} // by task: closed when its record changes
	closed  chan struct{}
}

var (
	_ backend.Store  = (*Backend)(nil)
	_ backend.Loader = (*Backend)(nil)
)

// New returns an empty backend.
func New() *Backend {
	return &Backend{
		records: make(map[string][]byte),
		waits:   make(map[string]chan struct{}),
		closed:  make(chan struct{}),
	}
}

// Store implements backend.Store.
func (b *Backend) Store(ctx context.Context, records ...backend.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.usable(ctx); err != nil {
		return err
	}
	for _, r := range records {
		b.store(r)
	}
	return nil
}

func (b *Backend) store(r backend.Record) {
	if old, ok := b.records[r.TaskID]; ok {
		if state, err := backend.State(old); err == nil && state == protocol.Success {
			return
		}
	}
	b.records[r.TaskID] = bytes.Clone(r.Document)
	if changed, ok := b.waits[r.TaskID]; ok {
		close(changed)
		delete(b.waits, r.TaskID)
	}
}

// Load implements backend.Loader.
func (b *Backend) Load(ctx context.Context, taskID string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	record, ok := b.records[taskID]
	if !ok {
		return nil, fmt.Errorf("%w for task %s", backend.ErrNotFound, taskID)
	}
	return bytes.Clone(record), nil
}

// Wait implements backend.Loader.
func (b *Backend) Wait(ctx context.Context, taskID string) ([]byte, error) {
	for {
		record, changed, err := b.look(ctx, taskID)
		if record != nil || err != nil {
			return record, err
		}
		select {
		case <-changed:
		case <-b.closed:
			return nil, backend.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look returns the record if it is ready, and otherwise what to wait for.
func (b *Backend) look(ctx context.Context, taskID string) (record []byte, changed chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.usable(ctx); err != nil {
		return nil, nil, err
	}
	if record, ok := b.records[taskID]; ok {
		if state, err := backend.State(record); err == nil && state.Ready() {
			return bytes.Clone(record), nil, nil
		}
	}
	changed, ok := b.waits[taskID]
	if !ok {
		changed = make(chan struct{})
		b.waits[taskID] = changed
	}
	return nil, changed, nil
}

// Close implements backend.Store. Calls of Wait return backend.ErrClosed.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	return nil
}

func (b *Backend) usable(ctx context.Context) error {
	select {
	case <-b.closed:
		return backend.ErrClosed
	default:
		return ctx.Err()
	}
}
