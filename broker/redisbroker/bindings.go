package redisbroker

import (
	"context"
	"regexp"
	"strings"

	"github.com/gomodule/redigo/redis"
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
	members, err := redis.Strings(c.pipe.Do(ctx, "SMEMBERS", c.keys.bindings(exchange)))
	if err != nil {
		return nil, err
	}
	return matchBindings(members, c.keys.sep, routingKey), nil
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
