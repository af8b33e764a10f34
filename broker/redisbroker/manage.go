package redisbroker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// Management looks at queues and empties them, for operators (kombu's Management).
type Management struct {
	pipe *redisconn.Pipeline
	keys keyspace
}

// OpenManagement connects. It fails if Redis cannot be reached now. Of the configuration
// it uses what names keys.
func OpenManagement(ctx context.Context, cfg Config) (*Management, error) {
	cfg.Queues = broker.Named("any") // it is not bound to queues
	redis, err := cfg.reach(ctx)
	if err != nil {
		return nil, err
	}
	return &Management{pipe: redisconn.NewPipeline(redis, redisconn.PipelineOptions{}), keys: cfg.keyspace(redis.DB())}, nil
}

// Close ends the connection.
func (m *Management) Close() error { return m.pipe.Close() }

// Steps returns the priorities that have a list of their own, the most urgent first.
func (m *Management) Steps() []int { return slices.Clone(m.keys.steps) }

// purgeScript empties lists.
//
//	KEYS  lists
//	return number of messages
var purgeScript = redisconn.NewScript(-1, redisconn.UnlinkLua+`
local n = 0
for _, list in ipairs(KEYS) do
  n = n + redis.call('LLEN', list)
  unlink(list)
end
return n
`)

// Purge drops what waits in a queue, whatever its priority, and returns how many messages
// there were. What workers have claimed or parked stays.
func (m *Management) Purge(ctx context.Context, queue string) (int, error) {
	args := []any{len(m.keys.steps)}
	for _, list := range m.keys.lists(queue) {
		args = append(args, list)
	}
	n, err := redis.Int(m.pipe.Script(ctx, purgeScript, args...))
	if err != nil {
		return 0, fmt.Errorf("purge queue %q: %w", queue, err)
	}
	return n, nil
}

// Parked returns how many messages of a queue are parked until their time.
func (m *Management) Parked(ctx context.Context, queue string) (int, error) {
	return redis.Int(m.pipe.Do(ctx, "ZCARD", m.keys.parked(queue)))
}

// Bindings returns the routing table of an exchange, sorted by queue.
func (m *Management) Bindings(ctx context.Context, exchange string) ([]broker.Binding, error) {
	members, err := readBindings(ctx, m.pipe, m.keys.bindings(exchange))
	if err != nil {
		return nil, fmt.Errorf("bindings of exchange %q: %w", exchange, err)
	}
	bindings := parseBindings(members, m.keys.sep)
	slices.SortFunc(bindings, func(a, b broker.Binding) int {
		return strings.Compare(a.Queue+"\x00"+a.RoutingKey, b.Queue+"\x00"+b.RoutingKey)
	})
	return bindings, nil
}

// scanCount is how many keys Redis looks at in one go.
const scanCount = 1000

// Exchanges returns the exchanges that have bindings, sorted. It looks at every key of
// the database, a thousand at a time.
func (m *Management) Exchanges(ctx context.Context) ([]string, error) {
	start := m.keys.bindings("")
	var exchanges []string
	for cursor := "0"; ; {
		reply, err := redis.Values(m.pipe.Do(ctx, "SCAN", cursor, "MATCH", escapeGlob(start)+"*", "COUNT", scanCount))
		if err != nil {
			return nil, fmt.Errorf("look for exchanges: %w", err)
		}
		var keys []string
		if _, err := redis.Scan(reply, &cursor, &keys); err != nil {
			return nil, fmt.Errorf("look for exchanges: %w", err)
		}
		for _, key := range keys {
			exchanges = append(exchanges, strings.TrimPrefix(key, start))
		}
		if cursor == "0" {
			slices.Sort(exchanges)
			return slices.Compact(exchanges), nil
		}
	}
}

// escapeGlob makes a pattern of Redis that matches a text alone.
func escapeGlob(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
