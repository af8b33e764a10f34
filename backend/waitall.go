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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var waits sync.WaitGroup
	var first sync.Once
	for i, record := range records {
		if state, err := State(record); err == nil && state.Ready() {
			continue
		}
		waits.Go(func() {
			record, waitErr := from.Wait(ctx, taskIDs[i])
			if waitErr == nil {
				records[i] = record
				return
			}
			first.Do(func() {
				err = fmt.Errorf("backend: waiting for task %s: %w", taskIDs[i], waitErr)
				cancel()
			})
		})
	}
	waits.Wait()
	if err != nil {
		return nil, err
	}
	return records, nil
}
