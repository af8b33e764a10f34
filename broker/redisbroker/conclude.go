package redisbroker

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

var _ broker.Concluders = (*Consumer)(nil)

// concluder is a consumer that publishes as a publisher does.
type concluder struct {
	c *Consumer
	p *Publisher
}

// Concluder implements [broker.Concluders]. Both have to be of the same database, or one
// script could not write for both.
func (c *Consumer) Concluder(p broker.Publisher) broker.Concluder {
	to := broker.PublisherAs[*Publisher](p)
	if to == nil || c.cfg.NoAckEmulation || !c.redis.Same(to.redis) {
		return nil
	}
	return &concluder{c, to}
}

// concludeScript sends what follows from those deliveries that are still recorded, and removes
// them for good. LLEN finds keys that are no lists before anything is done.
//
//	KEYS  1 unacked, 2 unacked_index, then binding sets, lists, channels, keys of chords
//	ARGV  1 number of binding sets, 2 of lists, 3 one binding for each set, then per delivery:
//	      tag, number of values, and these, which are messages as publishLua has them
//	return the tags that were not recorded any more
var concludeScript = redisconn.NewScript(-1, publishLua+`
local sets, lists = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 3 + sets, 2 + sets + lists do redis.call('LLEN', KEYS[i]) end
for i = 1, sets do redis.call('SADD', KEYS[2 + i], ARGV[2 + i]) end
local lost, i = {}, 3 + sets
while i <= #ARGV do
  local tag, after = ARGV[i], i + 2 + tonumber(ARGV[i + 1])
  if redis.call('HEXISTS', KEYS[1], tag) == 1 then
    send(i + 2, after - 1)
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
  else
    lost[#lost + 1] = tag
  end
  i = after
end
return lost
`)

// Conclude implements [broker.Concluder]. Another round trip comes before it for each direct
// or topic exchange that is published to. The tags make the script repeatable.
func (f *concluder) Conclude(ctx context.Context, conclusions ...broker.Conclusion) (lost []string, err error) {
	s := f.p.newSending()
	ends := make([]int, len(conclusions)) // of each one's messages
	for i, conclusion := range conclusions {
		for j := range conclusion.Publish {
			m := &conclusion.Publish[j]
			if err := s.add(ctx, m); err != nil {
				return nil, f.p.refusal(j, *m, fmt.Errorf("publish to %s: %w", address(*m), closedError(err)))
			}
		}
		ends[i] = len(s.messages)
	}
	c := f.c
	sets, members := s.declarations()
	keys := slices.Concat([]any{c.keys.unacked, c.keys.index}, sets, s.lists, s.channels, s.chords)
	args := make([]any, 0, 1+len(keys)+2+len(members)+2*len(ends)+3*len(s.messages))
	args = append(append(args, len(keys)), keys...)
	args = append(append(args, len(sets), len(s.lists)), members...)
	start := 0
	for i, end := range ends {
		args = append(args, conclusions[i].Tag, nil)
		before := len(args)
		args = s.appendPlaced(args, s.messages[start:end], 2+len(sets))
		args[before-1] = len(args) - before
		start = end
	}
	lost, err = redis.Strings(c.pipe.Script(ctx, concludeScript, args...))
	if err != nil {
		return nil, f.p.refusal(0, firstOf(conclusions), fmt.Errorf("publish and acknowledge: %w", closedError(err)))
	}
	f.p.noteDeclared(s.queues)
	c.forget(ctx, c.released(len(conclusions), func(i int) string { return conclusions[i].Tag }))
	return lost, nil
}

// firstOf returns the first message, which a refusal names if it is not known which one it is due to.
func firstOf(conclusions []broker.Conclusion) broker.Publication {
	for _, conclusion := range conclusions {
		for _, m := range conclusion.Publish {
			return m
		}
	}
	return broker.Publication{}
}
