package redisconn

import (
	"context"
	"errors"

	"github.com/gomodule/redigo/redis"
)

// What takes a right is a list of words: the right as ACL SETUSER takes it, such as +lpush, ~mail or &channel, and a
// command that needs it.

// UseCommand is the use of a command on a key.
func UseCommand(command, key string) []string {
	args := []string{command, key}
	switch command {
	case "evalsha":
		args = []string{command, "x", "1", key}
	case "brpop":
		args = append(args, "1")
	case "brpoplpush":
		args = append(args, key, "1")
	case "ping":
		args = args[:1]
	case "scan":
		args = []string{command, "0"}
	}
	return append([]string{"+" + command}, args...)
}

// UseKey is the use of a key by a script.
func UseKey(key string) []string { return []string{"~" + key, "eval", "return 1", "1", key} }

// UseChannel is the use of a channel or a pattern by publish, subscribe or psubscribe.
func UseChannel(command, channel string) []string {
	use := []string{"&" + channel, command, channel}
	if command == "publish" {
		use = append(use, "")
	}
	return use
}

// allowedScript asks the server what the user may do.
//
//	ARGV  for each command: number of its words, the words
//	return 1 or 0 for each; nil: this server does not tell
var allowedScript = NewScript(0, `
if not redis.acl_check_cmd then return false end
local answers, i = {}, 1
while i <= #ARGV do
  local last = i + tonumber(ARGV[i])
  local known, allowed = pcall(redis.acl_check_cmd, unpack(ARGV, i + 1, last))
  answers[#answers + 1] = (allowed or not known) and 1 or 0
  i = last + 1
end
return answers
`)

// Forbidden returns the rights that the server's ACL does not give the user of a connection, of those that uses take, which are
// not done. Servers before Redis 7 do not tell: errors.ErrUnsupported.
func Forbidden(ctx context.Context, conn redis.Conn, uses [][]string) (rights []string, err error) {
	var words []any
	for _, use := range uses {
		words = append(words, len(use)-1)
		for _, word := range use[1:] {
			words = append(words, word)
		}
	}
	answers, err := redis.Ints(allowedScript.Do(ctx, conn, words...))
	if errors.Is(err, redis.ErrNil) {
		return nil, errors.ErrUnsupported
	}
	if err != nil {
		return nil, err
	}
	for i, allowed := range answers {
		if allowed == 0 && i < len(uses) {
			rights = append(rights, uses[i][0])
		}
	}
	return rights, nil
}
