package membroker

import (
	"context"
	"slices"

	"github.com/apium/apium/broker"
)

var _ broker.Asker = (*publisher)(nil)

// AwaitReplies implements [broker.Asker].
func (p *publisher) AwaitReplies(ctx context.Context, q broker.Queue) (broker.Replies, error) {
	if err := p.usable(ctx); err != nil {
		return nil, err
	}
	return &replies{b: p.b, queue: q, consumer: p.b.ConsumerOf(q)}, nil
}

// replies are what arrives in a queue.
type replies struct {
	b        *Broker
	queue    broker.Queue
	consumer broker.Consumer
}

// Next implements [broker.Replies].
func (r *replies) Next(ctx context.Context) (broker.Content, error) {
	deliveries, err := r.consumer.Claim(ctx, 1)
	if err != nil {
		return broker.Content{}, err
	}
	_, err = r.consumer.Ack(ctx, deliveries[0].Tag)
	return deliveries[0].Content, err
}

// Close implements [broker.Replies].
func (r *replies) Close(context.Context) error {
	exchange, binding := r.queue.Binding()
	r.b.mu.Lock()
	r.b.bindings[exchange] = slices.DeleteFunc(r.b.bindings[exchange], func(b broker.Binding) bool { return b == binding })
	delete(r.b.queues, r.queue.Name)
	r.b.mu.Unlock()
	return r.consumer.Close()
}
