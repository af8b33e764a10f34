package membroker

import (
	"context"
	"errors"
	"time"

	"github.com/apium/apium/broker"
)

var _ broker.Replier = (*publisher)(nil)

// Reply implements [broker.Replier]. Messages stay, however old.
func (p *publisher) Reply(ctx context.Context, m broker.Publication, _ time.Duration) (delivered bool, err error) {
	if err := p.usable(ctx); err != nil {
		return false, err
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	queues, err := p.b.route(m)
	if errors.Is(err, broker.ErrUnroutable) {
		return false, nil
	}
	for _, queue := range queues {
		p.b.put(queue, broker.Back, published(m))
	}
	return true, err
}
