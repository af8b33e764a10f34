// Package redischord ends a chord in Redis in the very step in which its body is published: for a result backend and a broker in one
// database. In two steps, who dies in between, or loses the connection, leaves a chord that others take for one whose body nobody has published.
//
// Claims are in a key that Celery does not know. It takes a chord that is claimed for one whose body is published, and acknowledges the part that it was
// given; who has claimed it may have died, and RabbitMQ gives a part to another worker at once. Who claims with Celery's code is heeded here, whenever.
package redischord

import (
	"fmt"

	"github.com/apium/apium/internal/redisconn"
)

// End is what ends a chord.
type End struct {
	// Server is where the chord is.
	Server *redisconn.Config
	// Keys are .c, which has "done" once the chord has ended, and before that the token of who claims it with Celery's code; .a, which has that of
	// who claims it here; .s and .j, which are there as long as it is open, and all others.
	Keys []string
	// Token is that of the claim.
	Token string
	// Late is for how many seconds parts that come late are turned away by .c, and by .s not being there after that; Unsized
	// the same where there is no .s.
	Late, Unsized int64
}

// AppendKeys appends the keys to those of a script.
func (e *End) AppendKeys(keys []any) []any {
	for _, key := range e.Keys {
		keys = append(keys, key)
	}
	return keys
}

// Args are the ARGV of what Lua defines.
func (e *End) Args() string {
	return fmt.Sprintf("%d %d %d %s", len(e.Keys), e.Late, e.Unsized, e.Token)
}

// Lua defines what scripts use: claimed_elsewhere tells whether somebody else has the chord, whose key .c is KEYS[c]; forget_chord ends it, whatever
// the claim, up to KEYS[last]; end_chord does so with what Args has said, and tells whether it has. It does not if somebody else has the chord, or has
// ended it, or .c is something else.
const Lua = redisconn.UnlinkLua + `
local function claimed_elsewhere(c, token)
  if redis.call('GET', KEYS[c]) then return true end
  local held = redis.call('GET', KEYS[c + 1])
  return held and held ~= token, held
end
local function forget_chord(c, last, late, unsized)
  if redis.call('EXISTS', KEYS[c + 2]) == 0 then late = unsized end
  for i = c + 1, last do unlink(KEYS[i]) end
  redis.call('SET', KEYS[c], 'done', 'EX', late)
end
local function end_chord(c, args)
  local keys, late, unsized, token = string.match(args, '^(%d+) (%d+) (%d+) (.*)$')
  local read, elsewhere, held = pcall(claimed_elsewhere, c, token)
  if not read or elsewhere or not held and redis.call('EXISTS', KEYS[c + 2], KEYS[c + 3]) == 0 then return false end
  forget_chord(c, c + tonumber(keys) - 1, late, unsized)
  return true
end
`
