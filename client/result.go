package client

import (
	"context"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// AsyncResult stands for the result of a task that was sent.
type AsyncResult struct {
	ID     string
	loader backend.Loader
}

// Get waits until the task is done and decodes its result into out, a pointer;
// nil only waits. A task that failed or was revoked gives its Python exception, as
// a *protocol.Exception.
func (r *AsyncResult) Get(ctx context.Context, out any) error {
	result, err := r.Wait(ctx)
	if err != nil {
		return err
	}
	if result.State != protocol.Success {
		exception, err := protocol.DecodeException(result.Result)
		if err != nil {
			return fmt.Errorf("client: exception of task %s: %w", r.ID, err)
		}
		if result.Traceback != nil {
			exception.Traceback = *result.Traceback
		}
		return exception
	}
	if out == nil {
		return nil
	}
	raw := result.Result
	if raw == nil {
		raw = []byte("null")
	}
	if err := pyjson.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("client: result of task %s: %w", r.ID, err)
	}
	return nil
}

// Wait waits until the task is done and returns its record as it is, whether it
// succeeded or not.
func (r *AsyncResult) Wait(ctx context.Context) (*protocol.Result, error) {
	if r.loader == nil {
		return nil, ErrNoBackend
	}
	record, err := r.loader.Wait(ctx, r.ID)
	if err != nil {
		return nil, fmt.Errorf("client: wait for task %s: %w", r.ID, err)
	}
	result, err := protocol.DecodeResult(record)
	if err != nil {
		return nil, fmt.Errorf("client: record of task %s: %w", r.ID, err)
	}
	return result, nil
}
