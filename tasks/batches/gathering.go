package batches

import (
	"context"
	"slices"
	"sync"
	"time"
)

// gathering is what waits until it is a batch: tasks in the slots of one executor.
type gathering struct {
	options Options

	mu      sync.Mutex
	waiting []*member // the oldest first
	timer   *time.Timer
	running int  // batches
	hurries bool // the worker ends: nothing waits for others
}

// join has a task wait for its batch. It returns nil if ctx is done before.
func (g *gathering) join(ctx context.Context) *member {
	m := &member{ctx: ctx, since: time.Now(), called: make(chan struct{})}
	g.change(func() { g.waiting = append(g.waiting, m) })
	select {
	case <-m.called:
		return m
	case <-ctx.Done():
	}
	left := false
	g.change(func() {
		n := len(g.waiting)
		g.waiting = slices.DeleteFunc(g.waiting, func(other *member) bool { return other == m })
		left = len(g.waiting) < n
	})
	if left {
		return nil
	}
	return m // it was called meanwhile
}

// hurry has all run that waits, and what comes then at once.
func (g *gathering) hurry() { g.change(func() { g.hurries = true }) }

// ended notes that a batch does not run any more.
func (g *gathering) ended() { g.change(func() { g.running-- }) }

// change changes what waits, or what it waits for, and calls the batches that are complete then.
func (g *gathering) change(what func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	what()
	if g.timer != nil {
		g.timer.Stop()
	}
	for g.running < g.options.AtOnce && len(g.waiting) > 0 {
		n := min(len(g.waiting), g.options.Every)
		left := g.options.Within - time.Since(g.waiting[0].since)
		if n < g.options.Every && left > 0 && !g.hurries {
			g.timer = time.AfterFunc(left, func() { g.change(func() {}) })
			return
		}
		g.running++
		call(g.waiting[:n:n], g.ended)
		g.waiting = slices.Clone(g.waiting[n:])
	}
}
