package redisbroker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

var _ broker.Slots = (*Publisher)(nil)

// leadScript makes a node the leader for some milliseconds if nobody else is.
//
//	KEYS  1 leader
//	ARGV  1 node, 2 milliseconds
//	return the leader, and how many milliseconds it is that without renewing it
var leadScript = redisconn.NewScript(1, `
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return {leader, redis.call('PTTL', KEYS[1])} end
redis.call('PSETEX', KEYS[1], ARGV[2], ARGV[1])
return {ARGV[1], tonumber(ARGV[2])}
`)

// Lead implements [broker.Slots].
func (p *Publisher) Lead(ctx context.Context, schedule, node string, lasts time.Duration) (leader string, left time.Duration, err error) {
	reply, err := redis.Values(p.pipe.Script(ctx, leadScript, p.keys.leader(schedule), node, lasts.Milliseconds()))
	if err != nil {
		return "", 0, fmt.Errorf("lead schedule %q: %w", schedule, closedError(err))
	}
	var ms int64
	if _, err := redis.Scan(reply, &leader, &ms); err != nil {
		return "", 0, fmt.Errorf("lead schedule %q: %w", schedule, err)
	}
	return leader, time.Duration(ms) * time.Millisecond, nil
}

// resignScript deletes the leader's key if it is the node's.
var resignScript = redisconn.NewScript(1, `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`)

// Resign implements [broker.Slots].
func (p *Publisher) Resign(ctx context.Context, schedule, node string) error {
	if _, err := p.pipe.Script(ctx, resignScript, p.keys.leader(schedule), node); err != nil {
		return fmt.Errorf("resign from schedule %q: %w", schedule, closedError(err))
	}
	return nil
}

// Slots implements [broker.Slots].
func (p *Publisher) Slots(ctx context.Context, schedule string) (map[string]string, error) {
	stored, err := redis.StringMap(p.pipe.Do(ctx, "HGETALL", p.keys.slots(schedule)))
	if err != nil {
		return nil, fmt.Errorf("read schedule %q: %w", schedule, closedError(err))
	}
	return stored, nil
}

// takeScript takes turns: each whose entry has what it must have stored gets what follows, and its
// messages are sent. LLEN finds keys that are no lists before anything is done. What is stored after a turn is
// nobody else's, so that the script may run again.
//
//	KEYS  1 leader, 2 hash of slots, then binding sets, lists, channels, and those of commands
//	ARGV  1 node, 2 number of binding sets, 3 of lists, 4 one binding for each set, then per turn:
//	      entry, before, after, key of the lock, its token, number of messages, and these as publishScript has them,
//	      number of commands, and of each the number of its words and these
//	return for each turn 1 if it is taken, 0 if the lock is another's, else what is stored; or only the leader if
//	the node is not that
var takeScript = redisconn.NewScript(-1, `
local leader = redis.call('GET', KEYS[1]) or ''
if leader ~= ARGV[1] then return leader end
local sets, lists = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 3 + sets, 2 + sets + lists do redis.call('LLEN', KEYS[i]) end
for i = 1, sets do redis.call('SADD', KEYS[2 + i], ARGV[3 + i]) end
local function commands(i, taken)
  local n = tonumber(ARGV[i])
  i = i + 1
  for _ = 1, n do
    local words = tonumber(ARGV[i])
    if taken and redis.call('EXISTS', ARGV[i + 2]) == 1 then redis.pcall(unpack(ARGV, i + 1, i + words)) end
    i = i + 1 + words
  end
  return i
end
local answers, i = {}, 4 + sets
while i <= #ARGV do
  local entry, before, after, lock = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local first = i + 6
  local last = first + 3 * tonumber(ARGV[i + 5]) - 1
  local answer, taken = redis.call('HGET', KEYS[2], entry) or '', false
  if answer == after then
    answer = 1
  elseif lock ~= '' and redis.call('GET', lock) ~= ARGV[i + 4] then
    answer = 0
  elseif answer == before then
    if after == '' then redis.call('HDEL', KEYS[2], entry) else redis.call('HSET', KEYS[2], entry, after) end
    for j = first, last, 3 do
      redis.call(ARGV[j] == 'L' and 'LPUSH' or 'PUBLISH', KEYS[tonumber(ARGV[j + 1])], ARGV[j + 2])
    end
    answer, taken = 1, true
  end
  answers[#answers + 1] = answer
  i = commands(last + 1, taken)
end
return answers
`)

// Take implements [broker.Slots]. Turns are one script, which what they publish must not exceed 16 MiB for.
func (p *Publisher) Take(ctx context.Context, schedule, node string, turns ...broker.Turn) ([]broker.Taken, error) {
	s := p.newSending()
	ends := make([]int, len(turns)) // of each one's messages
	for i := range turns {
		for j := range turns[i].Publish {
			m := &turns[i].Publish[j]
			if err := s.add(ctx, m); err != nil {
				return nil, p.refusal(i, *m, fmt.Errorf("publish to %s: %w", address(*m), closedError(err)))
			}
		}
		ends[i] = len(s.messages)
	}
	sets, members := s.declarations()
	keys := slices.Concat([]any{p.keys.leader(schedule), p.keys.slots(schedule)}, sets, s.lists, s.channels, besideKeys(turns))
	args := make([]any, 0, 1+len(keys)+3+len(members)+4*len(turns)+3*len(s.messages))
	args = append(append(args, len(keys)), keys...)
	args = append(append(args, node, len(sets), len(s.lists)), members...)
	start := 0
	for i, end := range ends {
		beside := turns[i].Beside
		if beside == nil {
			beside = &broker.Beside{}
		}
		args = append(args, turns[i].Entry, turns[i].Before, turns[i].After, beside.Lock, beside.Token, end-start)
		args = s.appendPlaced(args, s.messages[start:end], 2+len(sets))
		args = appendCommands(args, beside.Commands)
		start = end
	}
	reply, err := p.pipe.Script(ctx, takeScript, args...)
	if err != nil {
		return nil, p.refusal(0, firstTurned(turns), fmt.Errorf("take turns of schedule %q: %w", schedule, closedError(err)))
	}
	if leader, deposed := reply.([]byte); deposed {
		return nil, &broker.DeposedError{Leader: string(leader)}
	}
	p.noteDeclared(s.queues)
	return taken(reply)
}

// besideKeys returns the keys that turns touch beside those of the broker.
func besideKeys(turns []broker.Turn) (keys []any) {
	for i := range turns {
		beside := turns[i].Beside
		if beside == nil {
			continue
		}
		if beside.Lock != "" {
			keys = append(keys, beside.Lock)
		}
		for _, command := range beside.Commands {
			keys = append(keys, command[1])
		}
	}
	return keys
}

func appendCommands(args []any, commands [][]string) []any {
	args = append(args, len(commands))
	for _, command := range commands {
		args = append(args, len(command))
		for _, word := range command {
			args = append(args, word)
		}
	}
	return args
}

// firstTurned returns the first message, which a refusal names if it is not known which one it is due to.
func firstTurned(turns []broker.Turn) broker.Publication {
	for i := range turns {
		for _, m := range turns[i].Publish {
			return m
		}
	}
	return broker.Publication{}
}

// taken reads the answers of takeScript.
func taken(reply any) ([]broker.Taken, error) {
	answers, err := redis.Values(reply, nil)
	if err != nil {
		return nil, fmt.Errorf("take turns: %w", err)
	}
	all := make([]broker.Taken, len(answers))
	for i, answer := range answers {
		switch answer := answer.(type) {
		case []byte:
			all[i].Stored = string(answer)
		case int64:
			all[i].OK, all[i].Locked = answer == 1, answer == 0
		}
	}
	return all, nil
}
