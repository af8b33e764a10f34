package worker

import (
	"context"
	"errors"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/logline"
)

// storeRecords writes the group's records. A failure of a task that lost its lease is not
// stored: it may be due to that loss, and whoever runs the task now will answer.
func (s *lane) storeRecords(ctx context.Context, group []settlement) {
	records := s.records[:0]
	for i := range group {
		one := &group[i]
		lost := one.req.lost.Load()
		if lost && (one.end == nil || one.end.kind != Succeeded) {
			continue
		}
		first := len(records)
		if one.record != nil {
			records = append(records, backend.Record{TaskID: one.req.ID, Document: one.record, Encoded: one.encoded, Task: one.req.Task})
		}
		if one.flow != nil && !lost {
			records = append(records, one.flow.records...)
			records = records[:first+len(s.joinParts(one, records[first:]))]
		}
	}
	if len(records) == 0 {
		return
	}
	s.records = records
	s.persist(ctx, "store results", func() error {
		err := s.store.Store(ctx, records...)
		if refused := refusedRecords(err); refused != nil {
			for _, e := range refused {
				s.log.Error("Cannot store the result of task "+e.TaskID+": "+e.Err.Error(),
					logline.EventKey, "Cannot store a result", "task_id", e.TaskID, "error", e.Err)
			}
			return nil
		}
		return err
	})
	clear(records)
}

// refusedRecords returns the refusals if they are all that went wrong.
func refusedRecords(err error) []*backend.RecordError {
	if err == nil {
		return nil
	}
	var one *backend.RecordError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*backend.RecordError
		for _, e := range joined.Unwrap() {
			if !errors.As(e, &one) {
				return nil
			}
			all = append(all, one)
		}
		return all
	}
	if errors.As(err, &one) {
		return []*backend.RecordError{one}
	}
	return nil
}
