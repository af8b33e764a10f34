package redisbroker

import (
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
)

var _ broker.Bypassers = (*Consumer)(nil)

// Bypasser implements [broker.Bypassers].
func (c *Consumer) Bypasser(p broker.Publisher) broker.Bypasser {
	to := broker.PublisherAs[*Publisher](p)
	if to == nil || !c.redis.Same(to.redis) || to.keys.list("any", 0) != c.keys.list("any", 0) {
		return nil
	}
	return c
}

// Bypass implements [broker.Bypasser]. Claim waits if its last look found all lists empty and no waiter has heard
// of a message since: what has come to a list that no waiter blocks on would lie there until the next look, too.
// Only what goes to a queue by name is taken: what is bound to an exchange, the server knows. So does what it would refuse.
func (c *Consumer) Bypass(m *broker.Publication) (d broker.Delivery, ok bool) {
	if m.Exchange != "" || m.ExchangeType == broker.Fanout || !c.waits.forAny() || envelope.Size(&m.Message) > redisconn.MaxString {
		return d, false
	}
	for _, s := range c.layout.Load().sources {
		if s.list == m.RoutingKey {
			return broker.Delivery{Queue: s.Name, Content: unsent(m)}, true
		}
	}
	return d, false
}

// unsent is the content of a message that is not published.
func unsent(m *broker.Publication) broker.Content {
	return broker.Content{Size: m.Message.Size(), Open: envelope.Opener(m.Message, m.Exchange, m.RoutingKey, protocol.NewID())}
}

// raw returns the envelope of what was claimed, or would have been: see Bypass.
func raw(d *broker.Delivery) ([]byte, error) {
	if d.Raw != nil {
		return d.Raw, nil
	}
	var r protocol.Received
	d.Read(&r)
	m, err := r.Message()
	if err != nil {
		return nil, err
	}
	dst := make([]byte, 0, envelope.Size(&m))
	return envelope.Append(dst, &m, string(r.Exchange), string(r.RoutingKey), string(r.DeliveryTag)), nil
}
