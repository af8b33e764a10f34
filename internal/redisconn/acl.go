package redisconn

import (
	"strings"

	"github.com/gomodule/redigo/redis"
)

// denials are the words by which servers from Redis 6 on, and Valkey, say that the ACL
// does not allow a user something: to a command, and to one in a script, where the code
// NOPERM is lost in most versions.
var denials = []string{"NOPERM", "The user executing the script can't", "ACL failure in script"}

// denied tells whether the ACL forbids it, and which right is missing.
func denied(err redis.Error) (right string, yes bool) {
	text := string(err)
	for _, words := range denials {
		yes = yes || strings.Contains(text, words)
	}
	switch {
	case !yes:
		return "", false
	case strings.Contains(text, "permissions to run") || strings.Contains(text, "can't run"):
		return "run the command; ACL SETUSER <user> +@all allows all commands", true
	case strings.Contains(text, "channel"):
		return "use the channel; ACL SETUSER <user> &* allows all channels", true
	default:
		return "touch the key; ACL SETUSER <user> ~* allows all keys", true
	}
}
