package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// chordError fails a chord: Celery's ChordError, and the exception of the part it is due to.
type chordError struct {
	text  string
	cause *protocol.Exception // nil: none of its parts'
}

func (e *chordError) Error() string { return e.text }

func (e *chordError) exception() *protocol.Exception {
	exc := newException("celery.exceptions", "ChordError", e.text)
	exc.Traceback = "Traceback (most recent call last):\n" + exc.Error() + "\n"
	return exc
}

// results joins the results of a header, as a JSON array in order.
func (c *chords) results(ctx context.Context, groupID string) ([]byte, error) {
	var results []backend.ChordResult
	var record []byte
	var unreadable error
	ok := c.settler.persist(ctx, "read a chord", func() (err error) {
		if record, err = c.backend.Groups.LoadGroup(ctx, groupID); errors.Is(err, backend.ErrNotFound) {
			results, err = c.backend.Chords.Results(ctx, groupID)
		}
		if errors.Is(err, backend.ErrUnreadable) {
			unreadable, err = err, nil
		}
		return err
	})
	switch {
	case unreadable != nil:
		return nil, unreadable
	case !ok:
		return nil, ctx.Err()
	}
	if record != nil {
		return c.joinTree(ctx, pyjson.Member(record, "result"))
	}
	list := []byte{'['}
	for _, result := range results {
		if result.State != protocol.Success {
			return nil, dependencyError(result.TaskID, result.Result)
		}
		list = append(pyjson.AppendComma(list), result.Result...)
	}
	return append(list, ']'), nil
}

// joinTree reads the results of the tasks in a result tuple from their records, as lists
// nested as the groups are. If one has failed, the error is its exception.
func (c *chords) joinTree(ctx context.Context, tree []byte) ([]byte, error) {
	ids := leaves(nil, tree)
	records, err := c.joinRecords(ctx, ids)
	if err != nil {
		return nil, err
	}
	results := make([][]byte, len(records))
	for i, record := range records {
		result, err := protocol.DecodeResult(record)
		if err != nil {
			return nil, err
		}
		if result.State != protocol.Success {
			return nil, joinError(ids[i], result.Result)
		}
		results[i] = result.Result
	}
	list, _ := nest(nil, tree, results)
	return list, nil
}

// joinRecords waits for the records of tasks, but not for long: they should all be done.
func (c *chords) joinRecords(ctx context.Context, ids []string) (records [][]byte, err error) {
	ok := c.settler.persist(ctx, "read the results of a chord", func() error {
		waiting, cancel := context.WithTimeout(ctx, c.joinTimeout)
		defer cancel()
		records, err = backend.WaitAll(waiting, c.loader, ids...)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			records, err = c.unjoined(ctx, ids)
		}
		if errors.Is(err, backend.ErrUnreadable) || errors.As(err, new(*protocol.Exception)) {
			return nil // it would be the same at every try
		}
		return err
	})
	if !ok {
		return nil, ctx.Err()
	}
	return records, err
}

// unjoined looks why a header could not be joined in time: one of its tasks has failed, so
// that others never came to run, or there is no telling. All may be done by now, if it was
// the backend that could not be reached.
func (c *chords) unjoined(ctx context.Context, ids []string) ([][]byte, error) {
	records, err := c.loader.LoadMany(ctx, ids...)
	if err != nil {
		return nil, err
	}
	missing := false
	for i, record := range records {
		result, err := protocol.DecodeResult(record)
		if record == nil || err != nil || !result.State.Ready() {
			missing = true
			continue
		}
		if result.State != protocol.Success {
			return nil, joinError(ids[i], result.Result)
		}
	}
	if missing {
		return nil, newException("celery.exceptions", "TimeoutError", "The operation timed out.")
	}
	return records, nil
}

// joinError is the exception of a task in a header that is joined.
func joinError(taskID string, result []byte) error {
	exc, err := protocol.DecodeException(result)
	if err != nil {
		return fmt.Errorf("exception of task %s: %w: %w", taskID, backend.ErrUnreadable, err)
	}
	return exc
}

// leaves collects the ids of the tasks in a result tuple, in order.
func leaves(ids []string, tuple []byte) []string {
	parts := pyjson.Elements(tuple)
	if len(parts) != 2 {
		return ids
	}
	if pyjson.Kind(parts[1]) != '[' {
		if own := pyjson.Elements(parts[0]); len(own) > 0 {
			ids = append(ids, textOf(own[0]))
		}
		return ids
	}
	for _, child := range pyjson.Elements(parts[1]) {
		ids = leaves(ids, child)
	}
	return ids
}

// nest writes results in the form of a result tuple, and returns those that are left.
func nest(dst, tuple []byte, results [][]byte) (list []byte, left [][]byte) {
	parts := pyjson.Elements(tuple)
	switch {
	case len(parts) != 2:
		return append(dst, "null"...), results
	case pyjson.Kind(parts[1]) != '[':
		if len(results) == 0 || results[0] == nil {
			return append(dst, "null"...), results[min(1, len(results)):]
		}
		return append(dst, results[0]...), results[1:]
	}
	dst = append(dst, '[')
	for _, child := range pyjson.Elements(parts[1]) {
		dst, results = nest(pyjson.AppendComma(dst), child, results)
	}
	return append(dst, ']'), results
}

func dependencyError(taskID string, result []byte) error {
	exc, err := protocol.DecodeException(result)
	if err != nil {
		return &chordError{text: fmt.Sprintf("Dependency %s raised %s", taskID, protocol.Repr(result))}
	}
	return &chordError{text: fmt.Sprintf("Dependency %s raised %s", taskID, exc.Repr()), cause: exc}
}
