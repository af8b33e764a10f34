package worker

import (
	"context"

	"github.com/apium/apium/tasks"
)

// Pool runs handlers. The worker calls Run from as many goroutines as its
// concurrency allows, so a pool needs no queue of its own.
type Pool interface {
	// Run executes one task and returns its result, or its error. It returns when
	// the handler is done; ctx asks the handler to stop.
	Run(ctx context.Context, entry *tasks.Entry, req *tasks.Request) (any, error)
}

// goroutines runs a handler in the calling goroutine. A panic is the task's
// failure: Entry.Call recovers it.
type goroutines struct{}

func (goroutines) Run(ctx context.Context, entry *tasks.Entry, req *tasks.Request) (any, error) {
	return entry.Call(ctx, req)
}
