package worker

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/apium/apium/internal/logline"
)

// persister does what must be done, however long broker or backend are away. What it is
// given may be done more than once: see "What is repeated is repeatable" in DESIGN.md.
type persister struct {
	log      taskLog
	stopping <-chan struct{} // closed when the worker stops: there is little time
	done     atomic.Int64    // how often it succeeded
}

const (
	retryFirst = 50 * time.Millisecond
	retryLast  = 5 * time.Second
	// retryStopping takes its place while the worker stops.
	retryStopping = 500 * time.Millisecond
)

// persist repeats op until it succeeds or ctx is done, with exponential backoff
// and jitter. What is unsettled when ctx ends stays in the broker, where peers
// find it; persist then reports false.
func (p *persister) persist(ctx context.Context, what string, op func() error) bool {
	stopping, longest := p.stopping, retryLast
	wait := retryFirst
	for attempt := 1; ; attempt++ {
		err := op()
		if err == nil {
			p.done.Add(1)
			if attempt > 1 {
				p.log.Info("Managed to "+what+" again", logline.EventKey, "Managed again", "what", what)
			}
			return true
		}
		if ctx.Err() != nil {
			p.log.Error("Gave up trying to "+what+": "+err.Error(), logline.EventKey, "Gave up trying", "what", what, "error", err)
			return false
		}
		if attempt == 1 {
			p.log.Error("Cannot "+what+": "+err.Error()+". Trying again until it works",
				logline.EventKey, "Trying again until it works", "what", what, "error", err)
		}
		select {
		case <-stopping:
			stopping, longest = nil, retryStopping
		default:
		}
		wait = min(wait, longest)
		select {
		case <-ctx.Done():
		case <-stopping:
		case <-time.After(rand.N(wait) + wait/2): //nolint:gosec // jitter
		}
		wait *= 2
	}
}
