package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// chordError fails a chord: Celery's ChordError, and the exception of the part it is due to.
type chordError struct {
	text  string
	cause *protocol.Exception // nil: none of its parts'
	group string              // its id, where the request that finds it out is none of its parts
}

func (e *chordError) Error() string { return e.text }

func (e *chordError) exception() *protocol.Exception {
	exc := newException("celery.exceptions", "ChordError", e.text)
	exc.Traceback = "Traceback (most recent call last):\n" + exc.Error() + "\n"
	return exc
}

// results joins the results of a header, as a JSON array in order. members are the result tuples
// of its tasks; nil: the backend keeps the results.
func (c *chords) results(ctx context.Context, groupID string, members []byte) ([]byte, error) {
	if members != nil {
		list, err := c.joinMembers(ctx, members)
		if failure, ok := errors.AsType[*chordError](err); ok {
			failure.cause = nil // django-celery-results does not say which it was
		}
		return list, err
	}
	var results []backend.ChordResult
	var record []byte
	var unreadable error
	ok := c.settler.persist(ctx, "read a chord", func() (err error) {
		if record, err = c.backend.Groups.LoadGroup(ctx, groupID); errors.Is(err, backend.ErrNotFound) {
			results, err = c.backend.Parts.Results(ctx, groupID)
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
	return listResults(results)
}

// listResults joins results as a JSON array. They may be large: there is one copy of them.
func listResults(results []backend.ChordResult) ([]byte, error) {
	size := len("[]")
	for i := range results {
		size += len(results[i].Result) + len(", ")
	}
	list := append(make([]byte, 0, size), '[')
	for _, result := range results {
		if result.State != protocol.Success {
			return nil, dependencyError(result.TaskID, result.Result)
		}
		list = append(pyjson.AppendComma(list), result.Result...)
	}
	return append(list, ']'), nil
}

// joinMembers reads the results of the tasks in a list of result tuples. If one has failed, the
// error is the chord's, as Celery has it where backends keep no results of chords.
func (c *chords) joinMembers(ctx context.Context, members []byte) ([]byte, error) {
	tree := groupOf(members)
	results, err := c.joinTree(ctx, tree)
	if err != nil && ctx.Err() == nil {
		cause := tasks.ExceptionOf(c.parentError(ctx, tree, err))
		return nil, &chordError{text: cause.Repr(), cause: cause}
	}
	return results, err
}

// groupOf is the result tuple of a group, of which only the members are known.
func groupOf(members []byte) []byte {
	return append(append([]byte(`[["", null], `), members...), ']')
}

// joinTree reads the results of the tasks in a result tuple from their records, as lists
// nested as the groups are. If one has failed, the error is its exception.
func (c *chords) joinTree(ctx context.Context, tree []byte) ([]byte, error) {
	ids := protocol.TaskIDs(nil, tree)
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
