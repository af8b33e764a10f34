package amqpbroker

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
)

// QueueLengths returns how many messages wait in each of the queues that are consumed now. A Broadcast's queue is this
// consumer's own, and counts under the name that all of them share.
func (c *Consumer) QueueLengths(ctx context.Context) (map[string]int64, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	names := make(map[string]string, len(c.sources.all))
	for _, s := range c.sources.all {
		names[s.Name] = s.name
	}
	c.mu.Unlock()
	conn, err := c.holder.Get(ctx)
	if err != nil {
		return nil, err
	}
	lengths := make(map[string]int64, len(names))
	for shown, name := range names {
		var q amqp.Queue
		err := conn.Aside(func(ch *amqp.Channel) (err error) {
			q, err = ch.QueueDeclarePassive(name, false, false, false, false, nil)
			return err
		})
		if err != nil && !isMissing(err) {
			return nil, fmt.Errorf("queue %q: %s", name, rabbitconn.Describe(err))
		}
		if err == nil {
			lengths[shown] = int64(q.Messages)
		}
	}
	return lengths, nil
}
