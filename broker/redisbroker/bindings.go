package redisbroker

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// route returns the queues a restored message goes back to, as kombu's _lookup:
// the default exchange routes by queue name, others by their binding set.
func (c *Consumer) route(ctx context.Context, exchange, routingKey string) ([]string, error) {
	if exchange == "" {
		if routingKey == "" {
			return nil, nil
		}
		return []string{routingKey}, nil
	}
	members, err := readBindings(ctx, c.pipe, c.keys.bindings(exchange))
	if err != nil {
		return nil, err
	}
	return matchBindings(members, c.keys.sep, routingKey), nil
}

// errUnroutable says that no queue is bound for a message.
var errUnroutable = errors.New("no queue is bound for it")

// readBindings returns the members of a binding set.
func readBindings(ctx context.Context, pipe *redisconn.Pipeline, set string) ([]string, error) {
	return redis.Strings(pipe.Do(ctx, "SMEMBERS", set))
}

// matchBindings picks the queues of the bindings (routing key, pattern, queue)
// that a routing key matches. Only topic exchanges have patterns: regular
// expressions in Python's syntax, matched from the start.
func matchBindings(members []string, sep, routingKey string) []string {
	var queues []string
	for _, member := range members {
		parts := strings.Split(member, sep)
		if len(parts) != 3 {
			continue
		}
		key, pattern, queue := parts[0], parts[1], parts[2]
		matches := key == routingKey
		if pattern != "" {
			re, err := regexp.Compile("^(?:" + pattern + ")")
			matches = err == nil && re.MatchString(routingKey)
		}
		if matches {
			queues = append(queues, queue)
		}
	}
	return queues
}
