package redisbroker

import (
	"strings"

	"github.com/apium/apium/internal/redisconn"
)

// commands are those that programs of a role need in the broker's database, as docs/security.md has them.
var commands = map[string]string{
	"worker": "evalsha ping brpoplpush del exists expire get hdel hexists hget hgetall hkeys hlen hmget hmset hscan hset hstrlen incr lindex llen lpush " +
		"lrange ltrim persist pexpire psetex pttl rpush sadd set setex smembers srem unlink zadd zcard zrange zrangebyscore zrem zrevrangebyscore zscore",
	"producer": "evalsha ping del incr llen lpush sadd set setex",
	"beat":     "evalsha ping brpop del exists get hget hgetall hset incr llen lpush psetex sadd setex smembers srem unlink zadd zrem zscore",
	"operator": "evalsha ping brpop del exists get hdel hget hgetall hlen hmget hscan hset hstrlen incr llen lpush lrange sadd scan setex smembers srem unlink " +
		"zcard zrange zrem",
}

// Rights are what programs are to have rights for.
type Rights struct {
	DB              int // of the broker
	Queues          []string
	Exchanges       []string // that the queues are bound to
	Control, Events string   // exchanges
}

// Uses returns what takes a right of all that a worker, producer, beat or operator does with the broker: each the right, as ACL
// SETUSER takes it, and the words of a command that needs it.
func (c *Config) Uses(role string, r *Rights) (uses [][]string) {
	cfg := *c
	cfg.setDefaults()
	k := cfg.keyspace(r.DB)
	mailbox, events := k.channel(r.Control+".pidbox", ""), k.channel(r.Events, "task.multi")
	keys := []string{k.once() + "x"}
	for _, queue := range r.Queues {
		keys = append(keys, k.list(queue, 0), k.list(queue, k.steps[len(k.steps)-1]))
	}
	for _, exchange := range r.Exchanges {
		keys = append(keys, k.bindings(exchange), k.permanent(exchange))
	}
	if role != "producer" {
		keys = append(keys, k.list("x.reply."+r.Control+".pidbox", 0), k.bindings(r.Control+".pidbox"), mailbox)
	}
	switch role {
	case "beat":
		keys = append(keys, k.slots("x"))
	case "worker", "operator":
		keys = append(keys, k.unacked, k.index, k.workers())
	}
	if role == "worker" {
		keys = append(keys, k.mutex, events)
		uses = append(uses, redisconn.UseChannel("publish", events), redisconn.UseChannel("psubscribe", k.channel(r.Events, "worker.*")),
			redisconn.UseChannel("psubscribe", mailbox))
	}
	if role != "producer" {
		uses = append(uses, redisconn.UseChannel("publish", mailbox))
	}
	for _, command := range strings.Fields(commands[role]) {
		uses = append(uses, redisconn.UseCommand(command, keys[0]))
	}
	for _, key := range keys {
		uses = append(uses, redisconn.UseKey(key))
	}
	return uses
}
