package redisconn

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// denials are the words by which servers from Redis 6 on, and Valkey, say that the ACL
// does not allow a user something: to a command, and to one in a script, where the code
// NOPERM is lost in most versions.
var denials = []string{"NOPERM", "The user executing the script can't", "ACL failure in script"}

// question is what a server was asked. The zero value is unknown.
type question struct {
	cmd    string
	args   []any
	script *Script // which it was to run
}

var (
	deniedCommand = regexp.MustCompile(`permissions to run the '([^']+)' command`)
	deniedLine    = regexp.MustCompile(`user_script:(\d+)`)
	calledCommand = regexp.MustCompile(`'([A-Z]{3,})'`)
	commandName   = regexp.MustCompile(`^[A-Z]{3,}$`)
)

// denied tells whether the ACL forbids it, which right is missing, and how it is given. The server's words name
// neither keys nor channels, nor a command of a script: those are looked up in what it was asked.
func denied(err redis.Error, asked question) (right string, yes bool) {
	text := string(err)
	for _, words := range denials {
		yes = yes || strings.Contains(text, words)
	}
	switch {
	case !yes:
		return "", false
	case strings.Contains(text, "permissions to run") || strings.Contains(text, "can't run"):
		const all = "+@all allows all commands"
		commands := asked.commands(text)
		if len(commands) == 0 {
			return "run the command; ACL SETUSER <user> " + all, true
		}
		return fmt.Sprintf("run the command %s; ACL SETUSER <user> +%s allows it, %s", strings.ToUpper(strings.Join(commands, " or ")),
			strings.ToLower(strings.Join(commands, " +")), all), true
	case strings.Contains(text, "channel"):
		return "use the channel" + asked.names() + "; ACL SETUSER <user> &* allows all channels, &<pattern> those of a pattern", true
	default:
		return "touch the key" + asked.names() + "; ACL SETUSER <user> ~* allows all keys, ~<pattern> those of a pattern", true
	}
}

// commands are those one of which the user may not run, as far as that is known.
func (q question) commands(text string) (names []string) {
	if m := deniedCommand.FindStringSubmatch(text); m != nil {
		return m[1:]
	}
	m := deniedLine.FindStringSubmatch(text)
	if m == nil || q.script == nil {
		return nil
	}
	n, _ := strconv.Atoi(m[1]) // digits
	lines := strings.Split(q.script.src, "\n")
	if n < 1 || n > len(lines) {
		return nil
	}
	for _, called := range calledCommand.FindAllStringSubmatch(lines[n-1], -1) {
		names = append(names, called[1])
	}
	if len(names) == 0 { // the line has it from an argument
		for _, arg := range q.args {
			if name, ok := arg.(string); ok && commandName.MatchString(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// names are the keys or channels of the question, one of which is meant, as part of a sentence.
func (q question) names() string {
	const most = 12
	keys := q.keys()
	if len(keys) == 0 {
		return ""
	}
	var names []string
	for _, key := range keys {
		if name := fmt.Sprintf("%q", key); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		return " " + names[0]
	}
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return ", one of " + strings.Join(names, ", ")
}

// keys are the keys, or channels, that a command has to do with, as far as it is one that programs of this module send.
func (q question) keys() []any {
	switch q.cmd {
	case "":
		return nil
	case "EVAL", "EVALSHA":
		if len(q.args) < 2 {
			return nil
		}
		n, err := strconv.Atoi(fmt.Sprint(q.args[1]))
		if err != nil {
			return nil
		}
		return q.args[2:min(len(q.args), 2+max(0, n))]
	case "MGET", "DEL", "UNLINK", "EXISTS", "SUBSCRIBE", "PSUBSCRIBE":
		return q.args
	case "BRPOPLPUSH", "RPOPLPUSH":
		return q.args[:min(2, len(q.args))]
	default:
		return q.args[:min(1, len(q.args))]
	}
}
