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
	chords  map[string]*chord
	groups  map[string][]byte
	closed  chan struct{}
}

var (
	_ backend.Store      = (*Backend)(nil)
	_ backend.Loader     = (*Backend)(nil)
	_ backend.Chords     = (*Backend)(nil)
	_ backend.ChordTaker = (*Backend)(nil)
	_ backend.Groups     = (*Backend)(nil)
)

// New returns an empty backend.
func New() *Backend {
	return &Backend{
		records: make(map[string][]byte),
		waits:   make(map[string]chan struct{}),
		chords:  make(map[string]*chord),
		groups:  make(map[string][]byte),
		closed:  make(chan struct{}),
	}
}

// Store implements backend.Store.
func (b *Backend) Store(ctx context.Context, records ...backend.Record) error {
	return b.locked(ctx, func() error {
		for _, r := range records {
			b.store(r)
		}
		return nil
	})
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
func (b *Backend) Load(ctx context.Context, taskID string) (record []byte, err error) {
	err = b.locked(ctx, func() error {
		stored, ok := b.records[taskID]
		if !ok {
			return fmt.Errorf("%w for task %s", backend.ErrNotFound, taskID)
		}
		record = bytes.Clone(stored)
		return nil
	})
	return record, err
}

// Wait implements backend.Loader.
func (b *Backend) Wait(ctx context.Context, taskID string) ([]byte, error) {
	return b.Watch(ctx, taskID, func([]byte) {})
}

// Watch implements backend.Loader.
func (b *Backend) Watch(ctx context.Context, taskID string, unready func([]byte)) ([]byte, error) {
	for {
		record, changed, err := b.look(ctx, taskID)
		if err != nil {
			return nil, err
		}
		if state, err := backend.State(record); err == nil {
			if state.Ready() {
				return record, nil
			}
			unready(record)
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

// look returns the record, if there is one, and what tells that it has changed.
func (b *Backend) look(ctx context.Context, taskID string) (record []byte, changed chan struct{}, err error) {
	err = b.locked(ctx, func() error {
		record = bytes.Clone(b.records[taskID])
		var ok bool
		if changed, ok = b.waits[taskID]; !ok {
			changed = make(chan struct{})
			b.waits[taskID] = changed
		}
		return nil
	})
	return record, changed, err
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

// locked does something that needs the lock, unless b is closed or ctx is done.
func (b *Backend) locked(ctx context.Context, do func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.usable(ctx); err != nil {
		return err
	}
	return do()
}

func (b *Backend) usable(ctx context.Context) error {
	select {
	case <-b.closed:
		return backend.ErrClosed
	default:
		return ctx.Err()
	}
}
