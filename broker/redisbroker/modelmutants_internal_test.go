package redisbroker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/apium/apium/internal/explorer"
	"github.com/apium/apium/internal/redisconn"
)

// A scriptMutant is a script with one guard taken out.
type scriptMutant struct {
	name, model string
	script      **redisconn.Script
	lua         func(string) string
}

// cut takes out what is in a script once.
func cut(from, to string) func(string) string {
	return func(lua string) string {
		if strings.Count(lua, from) != 1 {
			panic(fmt.Sprintf("%q is in the script %d times", from, strings.Count(lua, from)))
		}
		return strings.Replace(lua, from, to, 1)
	}
}

var scriptMutants = []scriptMutant{
	{"a claim leaves the message in its list", "two are given back in order", &claimScript, cut("redis.call('LTRIM', trim[1], 0, trim[2])", "")},
	{"a claim is not recorded", "two, and a death", &claimScript, cut("redis.call('HMSET', KEYS[2], unpack(entries))", "")},
	{"an acknowledgement does not tell what was lost", "acknowledged early", &ackScript, cut("then lost[#lost + 1] = ARGV[i] end", "then end")},
	{"an acknowledgement forgets what it has done", "two are accepted, and not heard of", &ackScript, cut("if done_before() then", "if false then")},
	{"what is handed back is still held", "two, and a death", &moveScript, cut("redis.call('HDEL', KEYS[1], tag)\n", "")},
	{"what is handed back is served last", "two, and a death", &moveScript, cut("redis.call(ARGV[1],", "redis.call('LPUSH',")},
	{"a sweep does not see that a lease was renewed", "a sweep", &moveScript, cut("and not renewed", "")},
	{"what is given back stays in the inbox", "inboxes", &claimScript, cut("redis.call('DEL', KEYS[i + 1])", "")},
	{"what a waiter has claimed stays in the inbox", "inboxes", &takeMovedScript, cut("redis.call('DEL', KEYS[5])\nreturn raw", "return raw")},
	{"an inbox is given back in the wrong order", "two are given back in order", &claimScript, cut("'RPUSH', KEYS[i], unpack(held)", "'LPUSH', KEYS[i], unpack(held)")},
	{"what is given back is served last", "two are given back in order", &moveScript, cut("redis.call(ARGV[1],", "redis.call('LPUSH',")},
	{"a group that is acknowledged does not tell that some of it was lost", "two are accepted beside a peer", &ackScript, cut("== #ARGV - 1 then", "> 0 then")},
	{"what is parked is still held", "parked", &parkScript, cut("redis.call('HDEL', KEYS[1], tag)\n", "")},
	{"a claim is done that was given up", "a claim comes late", &claimScript, cut("if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end", "")},
	{"a waiter's claim is done that was given up", "a waiter's claim comes late", &takeMovedScript, cut("redis.call('GET', KEYS[1]) ~= ARGV[1]", "false")},
	{"no sweep finds what is parked", "parked", &parkScript, cut("redis.call('ZADD', KEYS[2], ARGV[i + 2], parked)", "")},
	{"what was held again is so once more", "what is held again comes late", &holdScript, cut("if done_before() then return 0 end", "done_before()")},
	{"what is held again is not recorded", "held again", &holdScript, cut("redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])", "")},
	{"what was parked meanwhile is put back in place of what was", "parked under one name", &moveScript, cut("record == now or", "true or")},
	{"who was taken for dead is no worker any more", "a beat is not heard of", &buryScript, cut("if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end", "")},
	{"what was parked can be claimed again", "parked", &dueScript, cut("redis.call('HDEL', KEYS[2], unpack(gone))\n  redis.call('ZREM', KEYS[3], unpack(gone))", "")},
}

// TestModelFinds takes guards out of scripts: the models find it.
func TestModelFinds(t *testing.T) { //nolint:paralleltest // scripts are changed
	for _, m := range scriptMutants {
		i := slices.IndexFunc(models, func(of model) bool { return of.name == m.model })
		if models[i].large && *explorer.Deeper == 0 {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			was := *m.script
			defer func() { *m.script = was }()
			*m.script = was.Changed(m.lua)
			synctest.Test(t, func(t *testing.T) {
				e := newWorld(t, &models[i]).explored().Explore()
				if e.Broken == nil {
					t.Errorf("%d states do not show it", e.States)
				}
				t.Logf("%v, after %d states: %s", e.Broken, e.States, strings.Join(e.Path, "; "))
			})
		})
	}
}
