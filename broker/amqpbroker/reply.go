package amqpbroker

import (
	"context"
	"errors"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
)

var (
	_ broker.Replier = (*Publisher)(nil)
	_ broker.Asker   = (*Publisher)(nil)
)

// Reply sends a message through a direct exchange, which is declared as Celery's workers do. How long it stays
// is up to the queue of who waits.
func (p *Publisher) Reply(ctx context.Context, m broker.Publication, _ time.Duration) (delivered bool, err error) {
	all, err := p.outgoing([]broker.Publication{m})
	if err != nil {
		return false, err
	}
	all[0].again = true // who has gone does not come back
	l, err := p.talk.get(ctx)
	if err != nil {
		return false, closedError(err)
	}
	if at := (target{exchange: m.Exchange}); !p.isDeclared(l.conn.Epoch, at) {
		err := l.conn.Aside(exchange{m.Exchange, broker.Direct, false}.declare)
		if err == nil || rabbitconn.Code(err) != 0 { // if it is another's, it may do
			p.noteDeclared(l.conn.Epoch, at)
			p.noteDeclared(l.conn.Epoch, target{m.Exchange, m.RoutingKey})
		}
	}
	err = p.publish(ctx, &p.talk, []broker.Publication{m}, all)
	if errors.Is(err, broker.ErrUnroutable) {
		return false, nil
	}
	return err == nil, err
}

// AwaitReplies implements [broker.Asker].
func (p *Publisher) AwaitReplies(ctx context.Context, q broker.Queue) (broker.Replies, error) {
	name, b := q.Binding()
	l, err := p.listen(ctx, q.Name, exchange{name, broker.Direct, false}, b.RoutingKey)
	if err != nil {
		return nil, rabbitconn.Described(err)
	}
	return &replies{l}, nil
}

// replies are what arrives in a queue for them.
type replies struct{ *listener }

// Next implements [broker.Replies].
func (r *replies) Next(ctx context.Context) (broker.Content, error) {
	select {
	case d, ok := <-r.deliveries:
		if !ok {
			return broker.Content{}, r.lost()
		}
		return content(&d), nil
	case <-ctx.Done():
		return broker.Content{}, ctx.Err()
	}
}

// Close implements [broker.Replies].
func (r *replies) Close(context.Context) error {
	r.close()
	return nil
}
