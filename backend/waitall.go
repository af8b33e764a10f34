package backend

import (
	"context"
	"fmt"
	"sync"
)

// WaitAll waits until every task has a record in a ready state, and returns them in
// the order of the ids. It looks at all of them at once, then waits for those that
// are not there.
func WaitAll(ctx context.Context, from Loader, taskIDs ...string) ([][]byte, error) {
	records, err := from.LoadMany(ctx, taskIDs...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var waits sync.WaitGroup
	for i, record := range records {
		if state, err := State(record); record != nil && err == nil && state.Ready() {
			continue
		}
		waits.Go(func() {
			record, err := from.Wait(ctx, taskIDs[i])
			if err != nil {
				cancel(fmt.Errorf("backend: waiting for task %s: %w", taskIDs[i], err))
				return
			}
			records[i] = record
		})
	}
	waits.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return records, nil
}
