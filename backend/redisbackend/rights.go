package redisbackend

import (
	"strings"

	"github.com/apium/apium/internal/redisconn"
)

// commands are those that programs of a role need in the database of the results, as docs/security.md has them.
var commands = map[string]string{
	"worker":   "evalsha ping decr del get incr incrby mget set setex",
	"producer": "evalsha ping del get mget",
}

// Uses returns what takes a right of all that a worker or producer does with results: each the right, as ACL SETUSER takes it,
// and the words of a command that needs it.
func (c *Config) Uses(role string) (uses [][]string) {
	if commands[role] == "" {
		return nil
	}
	b := Backend{keyprefix: keyprefix(c.GlobalKeyprefix)}
	record := b.key("x")
	for _, command := range strings.Fields(commands[role]) {
		uses = append(uses, redisconn.UseCommand(command, record))
	}
	if role == "worker" {
		uses = append(uses, redisconn.UseChannel("publish", record))
	} else {
		uses = append(uses, redisconn.UseChannel("subscribe", record))
	}
	return append(uses, redisconn.UseKey(record), redisconn.UseKey(b.groupKey("x", "")))
}
