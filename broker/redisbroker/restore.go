package redisbroker

import (
	"context"
	"strings"

	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/protocol"
)

// restoration works out where the message of a record found in unacked goes. A
// record that nothing can be made of is dropped: a Python neighbour would die of it.
func (c *Consumer) restoration(ctx context.Context, opts moveOptions, tag string, record []byte) (move, error) {
	m := move{tag: tag, record: record}
	if opts.parkedOf != "" {
		m.index = c.keys.parked(opts.parkedOf)
	}
	if record == nil {
		return m, nil
	}
	e, err := decodeEntry(record)
	var msg *protocol.Received
	if err == nil {
		msg = read(e.raw)
		err = msg.Err
	}
	switch {
	case err != nil:
	case strings.HasPrefix(tag, parkedPrefix):
		m.raw, m.index = e.raw, c.keys.parked(e.routingKey) // nobody ran it: no mark
	default:
		m.raw, err = envelope.MarkRedelivered(e.raw)
	}
	if err != nil {
		c.log.Error("Removing an undecodable message", "key", c.keys.unacked, "tag", tag, "error", err, "message", excerpt(record))
		return m, nil
	}
	if strings.HasPrefix(tag, idPrefix) {
		m.counter = c.keys.redeliveries(string(msg.DeliveryTag))
	}
	queues, err := c.route(ctx, e.exchange, e.routingKey)
	if err != nil {
		return m, err
	}
	if len(queues) == 0 {
		c.log.Error("Dropping a message that no binding routes", "tag", tag,
			"exchange", e.exchange, "routing_key", e.routingKey, "message", excerpt(e.raw))
	}
	for _, q := range queues {
		m.lists = append(m.lists, c.keys.list(q, c.keys.step(msg.Priority)))
	}
	return m, nil
}

// restore gives recorded messages back to where they came from, served next.
// The tags are given newest first, so that the oldest is pushed last.
func (c *Consumer) restore(ctx context.Context, opts moveOptions, tags []string) (restored int, err error) {
	for len(tags) > 0 {
		records, err := c.records(ctx, tags[:min(len(tags), moveBatch)])
		if err != nil {
			return restored, err
		}
		moves := make([]move, len(records))
		for i := range records {
			if moves[i], err = c.restoration(ctx, opts, tags[i], records[i]); err != nil {
				return restored, err
			}
		}
		tags = tags[len(records):]
		done, err := c.move(ctx, opts, moves)
		for _, m := range done {
			if len(m.lists) > 0 {
				restored++
			}
		}
		if err != nil {
			return restored, err
		}
	}
	return restored, nil
}
