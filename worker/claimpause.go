package worker

import (
	"context"
	"sync"
	"time"
)

const (
	// headStart is for how long nothing is claimed after a message that was kept has gone
	// back, headStartMost after many: a Python worker takes them one by one.
	headStart     = 5 * time.Millisecond
	headStartMost = 250 * time.Millisecond
)

// claimPause keeps the claim loop from claiming for a while.
type claimPause struct {
	mu        sync.Mutex
	until     time.Time
	interrupt context.CancelFunc // ends the claim under way; nil: there has been none
	anew      bool               // the next claim is to end at once
}

// again ends the claim under way, or the next one, so that what is claimed is planned anew.
func (p *claimPause) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.anew = true
	if p.interrupt != nil {
		p.interrupt()
	}
}

// extend pauses for longer, up to most from now, and interrupts a claim under way.
func (p *claimPause) extend(by, most time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.until.Before(now) {
		p.until = now
	}
	if p.until = p.until.Add(by); p.until.After(now.Add(most)) {
		p.until = now.Add(most)
	}
	if p.interrupt != nil {
		p.interrupt()
	}
}

// over waits until the pause is over, and returns the context of the next claim.
func (p *claimPause) over(ctx context.Context) (context.Context, context.CancelFunc) {
	for {
		p.mu.Lock()
		wait := time.Until(p.until)
		if wait <= 0 || ctx.Err() != nil {
			claim, cancel := context.WithCancel(ctx)
			p.interrupt = cancel
			if p.anew {
				p.anew = false
				cancel()
			}
			p.mu.Unlock()
			return claim, cancel
		}
		p.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
