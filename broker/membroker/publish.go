package membroker

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// publisher is a Publisher and a Broadcaster.
type publisher struct {
	b      *Broker
	mu     sync.Mutex
	closed bool
}

var (
	_ broker.Publisher   = (*publisher)(nil)
	_ broker.AllOrNone   = (*publisher)(nil)
	_ broker.Broadcaster = (*publisher)(nil)
)

func (p *publisher) usable(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return broker.ErrClosed
	}
	return ctx.Err()
}

// PublishesAllOrNone implements [broker.AllOrNone].
func (p *publisher) PublishesAllOrNone() {}

// Publish implements [broker.Publisher].
func (p *publisher) Publish(ctx context.Context, messages ...broker.Publication) error {
	if err := p.usable(ctx); err != nil {
		return err
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	send, err := p.b.prepare(messages)
	if err == nil {
		send()
	}
	return err
}

// prepare routes messages. If none is refused, send puts them where they go.
func (b *Broker) prepare(messages []broker.Publication) (send func(), err error) {
	queues := make([][]string, len(messages))
	for i, m := range messages {
		if err := pyjson.Valid(m.Message.Headers); m.Message.Headers != nil && err != nil {
			return nil, &broker.RefusedError{Publication: m, Index: i, Err: fmt.Errorf("message %d: headers: %w", i+1, err)}
		}
		if queues[i], err = b.route(m); err != nil {
			return nil, &broker.RefusedError{Publication: m, Index: i, Err: fmt.Errorf("message %d: %w", i+1, err)}
		}
	}
	return func() {
		for i, m := range messages {
			if m.ExchangeType == broker.Fanout {
				b.tell(m)
			}
			for _, queue := range queues[i] {
				b.put(queue, broker.Back, published(m))
			}
		}
	}, nil
}

// published is a message as it arrives in a queue.
func published(m broker.Publication) *message {
	return &message{Message: m.Message, info: protocol.Info{Exchange: m.Exchange, RoutingKey: m.RoutingKey}}
}

// Broadcast implements [broker.Broadcaster].
func (p *publisher) Broadcast(ctx context.Context, messages ...broker.Publication) error {
	all := slices.Clone(messages)
	for i := range all {
		all[i].ExchangeType = broker.Fanout
	}
	return p.Publish(ctx, all...)
}

// route returns the queues of a message. A broadcast one may have none.
func (b *Broker) route(m broker.Publication) ([]string, error) {
	if m.Exchange == "" && m.RoutingKey != "" {
		return []string{m.RoutingKey}, nil
	}
	var queues []string
	for _, binding := range b.bindings[m.Exchange] {
		matches := binding.Matches(m.RoutingKey)
		if m.ExchangeType == broker.Fanout {
			matches = hears(binding.RoutingKey, m.RoutingKey)
		}
		if matches {
			queues = append(queues, binding.Queue)
		}
	}
	if queues == nil && m.ExchangeType != broker.Fanout {
		return nil, broker.ErrUnroutable
	}
	return queues, nil
}

// hears tells whether a channel's pattern matches, as PSUBSCRIBE does. Without a
// routing key a channel has another name.
func hears(bindingKey, routingKey string) bool {
	if bindingKey == "" || routingKey == "" {
		return bindingKey == routingKey
	}
	hide := strings.NewReplacer("#", "*", "/", "\x00") // a star of package path stops at slashes
	matches, err := path.Match(hide.Replace(bindingKey), hide.Replace(routingKey))
	return matches && err == nil
}

// step returns the index of the priority step of a message.
func step(priority int) int {
	at, found := slices.BinarySearch(steps[:], min(max(priority, 0), 9))
	if !found {
		at--
	}
	return at
}

// Close implements [broker.Publisher].
func (p *publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
