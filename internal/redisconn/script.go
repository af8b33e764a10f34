package redisconn

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// Script is a Lua script, sent by its hash. It may use the commands of Redis 3.2 only.
type Script struct {
	keys int // number of KEYS; negative: the first argument says it
	src  string
	hash string
}

// NewScript returns a script with a number of KEYS; negative if the number
// differs from call to call and is then the first argument.
func NewScript(keys int, src string) *Script {
	sum := sha1.Sum([]byte(src))
	return &Script{keys: keys, src: src, hash: hex.EncodeToString(sum[:])}
}

// Changed returns a script whose text is what change makes of this one's: for tests that take a guard out.
func (s *Script) Changed(change func(src string) string) *Script {
	return NewScript(s.keys, change(s.src))
}

// UnlinkLua defines unlink(key) for scripts: a key is deleted without holding up others
// while a large value is freed. Before Redis 4, or without the right, it is DEL.
const UnlinkLua = `
local function unlink(key)
  local n = redis.pcall('UNLINK', key)
  if type(n) == 'number' then return n end
  return redis.call('DEL', key)
end
`

func (s *Script) args(spec string, keysAndArgs []any) []any {
	args := make([]any, 0, 2+len(keysAndArgs))
	args = append(args, spec)
	if s.keys >= 0 {
		args = append(args, s.keys)
	}
	return append(args, keysAndArgs...)
}

// Script runs a script: EVALSHA, and EVAL once if the server does not know it.
func (p *Pipeline) Script(ctx context.Context, s *Script, keysAndArgs ...any) (any, error) {
	return s.run(keysAndArgs, func(cmd string, args []any) (any, error) { return p.do(ctx, cmd, args) })
}

// Do runs the script on a connection of its own, in the same way.
func (s *Script) Do(ctx context.Context, conn redis.Conn, keysAndArgs ...any) (any, error) {
	return s.run(keysAndArgs, func(cmd string, args []any) (any, error) { return redis.DoContext(conn, ctx, cmd, args...) })
}

func (s *Script) run(keysAndArgs []any, do func(cmd string, args []any) (any, error)) (any, error) {
	cmd, args := "EVALSHA", s.args(s.hash, keysAndArgs)
	reply, err := do(cmd, args)
	if IsNoScript(err) {
		cmd, args = "EVAL", s.args(s.src, keysAndArgs)
		reply, err = do(cmd, args)
	}
	if err != nil {
		err = explained(err, question{cmd, args, s})
	}
	return reply, err
}

// Send sends the script without waiting for its answer: by its hash, or whole, if the server may not know it.
func (s *Script) Send(conn redis.Conn, whole bool, keysAndArgs ...any) error {
	if whole {
		return conn.Send("EVAL", s.args(s.src, keysAndArgs)...)
	}
	return conn.Send("EVALSHA", s.args(s.hash, keysAndArgs)...)
}

// IsNoScript tells whether a server does not know the script that it was to run.
func IsNoScript(err error) bool {
	var e redis.Error
	return errors.As(err, &e) && strings.HasPrefix(string(e), "NOSCRIPT ")
}
