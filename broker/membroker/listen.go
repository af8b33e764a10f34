package membroker

import (
	"context"
	"slices"

	"github.com/apium/apium/broker"
)

// listener is one subscription; its queue grows without limit.
type listener struct {
	broker.Subscription
	only  []string // routing keys; nil: all
	heard []broker.Publication
	wake  chan struct{} // capacity 1
}

// Subscribe implements [broker.Broadcaster].
func (p *publisher) Subscribe(ctx context.Context, s broker.Subscription) error {
	if err := p.usable(ctx); err != nil {
		return err
	}
	l := &listener{Subscription: s, wake: make(chan struct{}, 1)}
	p.b.mu.Lock()
	p.b.listeners = append(p.b.listeners, l)
	p.b.mu.Unlock()
	defer p.b.forget(l)
	if s.OnState != nil {
		s.OnState(true, nil)
		defer s.OnState(false, context.Canceled)
	}
	for {
		select {
		case <-l.wake:
		case only := <-s.Only:
			p.b.mu.Lock()
			l.only = only
			p.b.mu.Unlock()
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		p.b.mu.Lock()
		heard := l.heard
		l.heard = nil
		p.b.mu.Unlock()
		for _, m := range heard {
			s.Handle(m.RoutingKey, published(m).content())
		}
	}
}

func (b *Broker) forget(l *listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listeners = slices.DeleteFunc(b.listeners, func(other *listener) bool { return other == l })
}

// tell hands a message to those who listen to it. b.mu is held.
func (b *Broker) tell(m broker.Publication) {
	for _, l := range b.listeners {
		if l.Exchange != m.Exchange || !hears(l.BindingKey, m.RoutingKey) || l.only != nil && !slices.Contains(l.only, m.RoutingKey) {
			continue
		}
		l.heard = append(l.heard, m)
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}
