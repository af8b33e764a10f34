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

// results are those of a header, raw JSON in order. members are the result tuples of its tasks; nil: the backend keeps the
// results.
func (c *chords) results(ctx context.Context, groupID string, members []byte) ([][]byte, error) {
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

// listResults returns results as they are, unless a part has failed.
func listResults(results []backend.ChordResult) ([][]byte, error) {
	list := make([][]byte, len(results))
	for i, result := range results {
		if result.State != protocol.Success {
			return nil, dependencyError(result.TaskID, result.Result)
		}
		list[i] = result.Result
	}
	return list, nil
}

// joinMembers reads the results of the tasks in a list of result tuples. If one has failed, the
// error is the chord's, as Celery has it where backends keep no results of chords.
func (c *chords) joinMembers(ctx context.Context, members []byte) ([][]byte, error) {
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
func (c *chords) joinTree(ctx context.Context, tree []byte) ([][]byte, error) {
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
	list, _ := nestAll(tree, results)
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

// nestAll returns the results of a group's members, given its result tuple and the results of all tasks in it, and those
// that are left.
func nestAll(tuple []byte, results [][]byte) (list, left [][]byte) {
	for _, child := range pyjson.Elements(membersOf(tuple)) {
		var value []byte
		value, results = nest(child, results)
		list = append(list, value)
	}
	return list, results
}

// nest returns what a result tuple stands for: a task's result, or a list of what its members do.
func nest(tuple []byte, results [][]byte) (value []byte, left [][]byte) {
	members := membersOf(tuple)
	switch {
	case members == nil:
		return []byte("null"), results
	case pyjson.Kind(members) == '[':
		list, left := nestAll(tuple, results)
		return pyjson.AppendArray(nil, list), left
	case len(results) == 0 || results[0] == nil:
		return []byte("null"), results[min(1, len(results)):]
	}
	return results[0], results[1:]
}

// membersOf is the second part of a result tuple: the members of a group, null for a task; nil if it is no tuple.
func membersOf(tuple []byte) []byte {
	if parts := pyjson.Elements(tuple); len(parts) == 2 {
		return parts[1]
	}
	return nil
}

func dependencyError(taskID string, result []byte) error {
	exc, err := protocol.DecodeException(result)
	if err != nil {
		return &chordError{text: fmt.Sprintf("Dependency %s raised %s", taskID, protocol.Repr(result))}
	}
	return &chordError{text: fmt.Sprintf("Dependency %s raised %s", taskID, exc.Repr()), cause: exc}
}
