package membroker

import (
	"context"

	"github.com/apium/apium/broker"
)

// concluder concludes what a consumer of the same broker has claimed.
type concluder struct{ c *consumer }

var _ broker.Concluders = (*consumer)(nil)

// Concluder implements [broker.Concluders].
func (c *consumer) Concluder(p broker.Publisher) broker.Concluder {
	if to := broker.PublisherAs[*publisher](p); to == nil || to.b != c.b {
		return nil
	}
	return concluder{c}
}

// Conclude implements [broker.Concluder].
func (f concluder) Conclude(ctx context.Context, conclusions ...broker.Conclusion) (lost []string, err error) {
	if err := f.c.usable(ctx); err != nil {
		return nil, err
	}
	b := f.c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	sends := make([]func(), len(conclusions))
	for i, conclusion := range conclusions {
		if sends[i], err = b.prepare(conclusion.Publish); err != nil {
			return nil, err
		}
	}
	for i, conclusion := range conclusions {
		if b.settle(conclusion.Tag) {
			sends[i]()
		} else {
			lost = append(lost, conclusion.Tag)
		}
	}
	return lost, nil
}
