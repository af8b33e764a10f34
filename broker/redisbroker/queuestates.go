package redisbroker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol/pyjson"
)

// QueueState is how many messages of a queue are where.
type QueueState = broker.QueueState

// Figures implements [broker.Management].
func (m *Management) Figures() broker.Figures {
	return broker.Figures{Unacked: true, Parked: true, Dead: true}
}

// Queues tells of the queues named and of all that leave a trace in Redis, by name: those
// bound to an exchange, consumed by an Apium worker, or with messages anywhere. Queues of
// the exchanges to ignore are not looked for, nor those of remote control. Messages whose
// queue cannot be told are in one without a name.
func (m *Management) Queues(ctx context.Context, named, ignore []string) ([]QueueState, error) {
	c := &census{m: m, queues: map[string]*QueueState{}, tables: map[string][]string{}}
	for _, name := range named {
		c.queue(name)
	}
	for _, count := range []func(context.Context) error{
		func(ctx context.Context) error { return c.bound(ctx, ignore) }, c.consumed, c.unacked, c.parked, c.dead, c.ready,
	} {
		if err := count(ctx); err != nil {
			return nil, fmt.Errorf("count messages: %w", err)
		}
	}
	states := make([]QueueState, 0, len(c.queues))
	for _, name := range slices.Sorted(maps.Keys(c.queues)) {
		states = append(states, *c.queues[name])
	}
	return states, nil
}

// census counts messages.
type census struct {
	m      *Management
	queues map[string]*QueueState
	tables map[string][]string // exchange → bindings
	// private are lists of fanout queues, which every worker has of its own.
	private map[string][]string // queue → keys
}

// queue returns the state of a queue, given its name or that of its lists.
func (c *census) queue(list string) *QueueState {
	name := list
	if owner := c.m.keys.owner(list); owner != "" {
		name = strings.TrimPrefix(list, c.m.keys.private(owner, ""))
	}
	if c.queues[name] == nil {
		c.queues[name] = &QueueState{Name: name, Ready: make([]int, len(c.m.keys.steps))}
	}
	return c.queues[name]
}

func (c *census) bound(ctx context.Context, ignore []string) error {
	exchanges, err := c.m.Exchanges(ctx)
	if err != nil {
		return err
	}
	for _, exchange := range exchanges {
		if slices.Contains(ignore, exchange) || strings.HasSuffix(exchange, ".pidbox") {
			continue
		}
		bindings, err := c.m.Bindings(ctx, exchange)
		if err != nil {
			return err
		}
		for _, b := range bindings {
			c.queue(b.Queue)
		}
	}
	return nil
}

// consumed finds the queues of living workers.
func (c *census) consumed(ctx context.Context) error {
	workers, err := redis.StringMap(c.m.pipe.Do(ctx, "HGETALL", c.m.keys.workers()))
	if err != nil {
		return err
	}
	c.private = map[string][]string{}
	for id, text := range workers {
		var reg registration
		if json.Unmarshal([]byte(text), &reg) != nil {
			continue
		}
		for _, queue := range reg.Queues {
			c.queue(queue)
			if private := c.m.keys.private(id, queue); slices.Contains(reg.Private, c.m.keys.list(private, 0)) {
				c.private[queue] = append(c.private[queue], private)
			}
		}
	}
	return nil
}

func (c *census) ready(ctx context.Context) error {
	for name, q := range c.queues {
		for _, list := range append(c.private[name], name) {
			for i, key := range c.m.keys.lists(list) {
				n, err := redis.Int(c.m.pipe.Do(ctx, "LLEN", key))
				if err != nil {
					return fmt.Errorf("list %q: %w", key, err)
				}
				q.Ready[i] += n
			}
		}
	}
	return nil
}

func (c *census) parked(ctx context.Context) error {
	lists, err := redis.Strings(c.m.pipe.Do(ctx, "SMEMBERS", c.m.keys.parkedQueues()))
	if err != nil {
		return err
	}
	for _, list := range lists {
		n, err := c.m.Parked(ctx, list)
		if err != nil {
			return err
		}
		if n > 0 {
			c.queue(list).Parked += n
		}
	}
	return nil
}

// tallyScript counts some of the records of a hash by where they belong, which stands at
// the end of those of unacked, and at the start of dead letters. Messages stay in Redis.
//
//	KEYS  1 hash
//	ARGV  1 cursor, 2 how many, 3 start of the fields to leave out, 4 "letters" or not
//	return the next cursor, then pairs of a JSON list ("" if it cannot be told) and a number
var tallyScript = redisconn.NewScript(1, `
local function place(record)
  if ARGV[4] == 'letters' then
    local queue = string.match(string.sub(record, 1, 600), '^{"id":"[^"]*","queue":("[^"]*")')
    return queue and '["",' .. queue .. ']' or ''
  end
  local tail = string.sub(record, -600)
  local exchange, key = string.match(tail, '("[^"]*"),%s*("[^"]*")%s*%]$')
  if not exchange then exchange, key = '""', string.match(tail, ',%s*null,%s*("[^"]*")%s*%]$') end
  return key and '[' .. exchange .. ',' .. key .. ']' or ''
end
local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local n = {}
for i = 1, #found[2], 2 do
  if ARGV[3] == '' or string.sub(found[2][i], 1, #ARGV[3]) ~= ARGV[3] then
    local at = place(found[2][i + 1])
    n[at] = (n[at] or 0) + 1
  end
end
local answer = {found[1]}
for at, count in pairs(n) do
  answer[#answer + 1] = at
  answer[#answer + 1] = count
end
return answer
`)

// tally calls add with each place of a hash's records.
func (c *census) tally(ctx context.Context, hash, leaveOut, kind string, add func(exchange, key string, n int) error) error {
	for cursor := "0"; ; {
		answer, err := redis.Values(c.m.pipe.Script(ctx, tallyScript, hash, cursor, scanCount, leaveOut, kind))
		if err != nil {
			return err
		}
		if answer, err = redis.Scan(answer, &cursor); err != nil {
			return err
		}
		for len(answer) > 0 {
			var at []byte
			var n int
			if answer, err = redis.Scan(answer, &at, &n); err != nil {
				return err
			}
			var place [2]string
			if len(at) > 0 {
				if err := pyjson.Unmarshal(at, &place); err != nil {
					place = [2]string{}
				}
			}
			if err := add(place[0], place[1], n); err != nil {
				return err
			}
		}
		if cursor == "0" {
			return nil
		}
	}
}

func (c *census) unacked(ctx context.Context) error {
	return c.tally(ctx, c.m.keys.unacked, parkedPrefix, "unacked", func(exchange, key string, n int) error {
		queue := key
		if exchange != "" {
			if c.tables[exchange] == nil {
				members, err := readBindings(ctx, c.m.pipe, c.m.keys.bindings(exchange))
				if err != nil {
					return err
				}
				slices.Sort(members)
				c.tables[exchange] = append(members, "")
			}
			if queues := matchBindings(c.tables[exchange], c.m.keys.sep, key); len(queues) > 0 {
				queue = queues[0]
			}
		}
		c.queue(queue).Unacked += n
		return nil
	})
}

func (c *census) dead(ctx context.Context) error {
	return c.tally(ctx, c.m.keys.letters(), "", "letters", func(_, queue string, n int) error {
		c.queue(queue).Dead += n
		return nil
	})
}
