package redisbroker

import (
	"context"
	"strings"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// route returns the queues a restored message goes back to, as kombu's _lookup:
// the default exchange routes by queue name, others by their binding set.
func (c *Consumer) route(ctx context.Context, exchange, routingKey string) ([]string, error) {
	if exchange == "" {
		if routingKey == "" {
			return nil, nil
		}
		if dead, err := c.orphaned(ctx, routingKey); dead || err != nil {
			return nil, err
		}
		return []string{routingKey}, nil
	}
	members, err := readBindings(ctx, c.pipe, c.keys.bindings(exchange))
	if err != nil {
		return nil, err
	}
	return matchBindings(members, c.keys.sep, routingKey), nil
}

// orphaned tells whether a queue is the private one of a worker that is gone.
func (c *Consumer) orphaned(ctx context.Context, queue string) (dead bool, err error) {
	owner := c.keys.owner(queue)
	if owner == "" || owner == c.id {
		return false, nil
	}
	alive, err := redis.Bool(c.pipe.Do(ctx, "EXISTS", c.keys.alive(owner)))
	return !alive, err
}

// readBindings returns the members of a binding set, which parseBindings reads.
func readBindings(ctx context.Context, pipe *redisconn.Pipeline, set string) ([]string, error) {
	return redis.Strings(pipe.Do(ctx, "SMEMBERS", set))
}

// matchBindings picks the queues of the bindings that a routing key matches.
func matchBindings(members []string, sep, routingKey string) []string {
	var queues []string
	for _, b := range parseBindings(members, sep) {
		if b.Matches(routingKey) {
			queues = append(queues, b.Queue)
		}
	}
	return queues
}

// parseBindings leaves out what is no binding.
func parseBindings(members []string, sep string) (bindings []broker.Binding) {
	for _, member := range members {
		if parts := strings.Split(member, sep); len(parts) == 3 {
			bindings = append(bindings, broker.Binding{RoutingKey: parts[0], Pattern: parts[1], Queue: parts[2]})
		}
	}
	return bindings
}

// bind adds a queue's bindings to its exchanges (SADD) or takes them away (SREM). The
// second set keeps kombu 5.7 and later from sweeping the routing table.
func bind(ctx context.Context, pipe *redisconn.Pipeline, keys *keyspace, cmd string, q broker.Queue) error {
	for _, bound := range q.Bound() {
		exchange, member := keys.declaration(bound)
		for _, set := range []string{keys.bindings(exchange), keys.permanent(exchange)} {
			if _, err := pipe.Do(ctx, cmd, set, member); err != nil {
				return err
			}
		}
	}
	return nil
}
