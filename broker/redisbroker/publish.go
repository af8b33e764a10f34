package redisbroker

import (
	"context"
	"fmt"
	"sync"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
)

// PublisherConfig says how to publish. Redis is required; the other fields are
// those of Config.
type PublisherConfig struct {
	Redis           *redisconn.Config
	PrioritySteps   []int
	Sep             string
	GlobalKeyprefix string
}

// Publisher puts messages on queues.
type Publisher struct {
	pipe *redisconn.Pipeline
	keys keyspace

	mu       sync.Mutex
	declared map[string]bool // queues whose binding we have written
}

var _ broker.Publisher = (*Publisher)(nil)

// OpenPublisher connects. It fails if Redis cannot be reached now.
func OpenPublisher(ctx context.Context, cfg PublisherConfig) (*Publisher, error) {
	whole := Config{Redis: cfg.Redis, PrioritySteps: cfg.PrioritySteps, Sep: cfg.Sep, GlobalKeyprefix: cfg.GlobalKeyprefix}
	whole.Queues = []string{"any"} // a publisher is not bound to queues
	whole.setDefaults()
	if err := whole.validate(); err != nil {
		return nil, err
	}
	conn, err := cfg.Redis.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("redisbroker: %w", err)
	}
	conn.Close()
	return &Publisher{
		pipe:     redisconn.NewPipeline(cfg.Redis, redisconn.PipelineOptions{}),
		keys:     whole.keyspace(),
		declared: map[string]bool{},
	}, nil
}

// publishScript pushes messages to the lists of their priorities, all or none.
//
//	KEYS  1 binding set of the queue, then the lists
//	ARGV  1 binding ("" = declared already), then per message: place of its list in KEYS, message
var publishScript = redisconn.NewScript(-1, `
if ARGV[1] ~= '' then redis.call('SADD', KEYS[1], ARGV[1]) end
for i = 2, #ARGV, 2 do
  redis.call('LPUSH', KEYS[tonumber(ARGV[i])], ARGV[i + 1])
end
return 1
`)

// Publish appends messages to a queue, in order, in one round trip, all or none.
// A message that cannot be decoded is refused: it would kill Python consumers.
// The first publication to a queue declares its binding, as Python does.
// After a connection failure it is unknown whether the messages were published.
func (p *Publisher) Publish(ctx context.Context, queue string, messages ...[]byte) error {
	keys := []any{p.keys.bindings(queue)}
	places := map[int]int{} // priority step → place in keys
	args := []any{""}
	p.mu.Lock()
	declared := p.declared[queue]
	p.mu.Unlock()
	if !declared {
		args[0] = p.keys.binding("", "", queue)
	}
	for i, raw := range messages {
		msg, err := protocol.DecodeMessage(raw)
		if err != nil {
			return fmt.Errorf("publish to %q: message %d: %w", queue, i+1, err)
		}
		step := p.keys.step(msg.Properties.Priority)
		if places[step] == 0 {
			keys = append(keys, p.keys.list(queue, step))
			places[step] = len(keys)
		}
		args = append(args, places[step], raw)
	}
	all := append(append([]any{len(keys)}, keys...), args...)
	if _, err := p.pipe.Script(ctx, publishScript, all...); err != nil {
		return fmt.Errorf("publish to %q: %w", queue, closedError(err))
	}
	p.mu.Lock()
	p.declared[queue] = true
	p.mu.Unlock()
	return nil
}

// Close ends the connection.
func (p *Publisher) Close() error { return p.pipe.Close() }
