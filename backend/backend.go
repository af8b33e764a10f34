// Package backend says what a worker and a client need of a result backend.
//
// The implementations are redisbackend (Redis, in Celery's layout) and membackend
// (in memory, for tests). backendtest holds the tests every implementation passes.
package backend

import (
	"context"
	"errors"
)

// ErrNotFound is returned by Load and Wait's callers for a task without a record:
// in Celery's words, a task whose state is PENDING.
var ErrNotFound = errors.New("backend: no result")

// Store writes result records.
type Store interface {
	// Store writes the record of a task and wakes the clients that wait for it,
	// unless a SUCCESS is stored already: SUCCESS is final, and stored is false.
	// record is the encoded task-meta document; Store does not keep it.
	Store(ctx context.Context, taskID string, record []byte) (stored bool, err error)
	Close() error
}

// Loader reads result records.
type Loader interface {
	// Load returns the record of a task, or ErrNotFound.
	Load(ctx context.Context, taskID string) ([]byte, error)
	// Wait blocks until the task has a record in a ready state (SUCCESS, FAILURE
	// or REVOKED), or ctx is done.
	Wait(ctx context.Context, taskID string) ([]byte, error)
}
