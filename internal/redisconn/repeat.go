package redisconn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Insist runs a script until its outcome is known, and so makes up for answers that were
// lost with their connection: the script may run more than once. An error says that it has
// not run, unless it is ErrClosed or comes when ctx is done.
func (p *Pipeline) Insist(ctx context.Context, s *Script, keysAndArgs ...any) (any, error) {
	reply, _, err := p.insist(ctx, s, func() []any { return keysAndArgs })
	return reply, err
}

// insist is Insist, which also tells whether an answer was lost: then the script may run
// once more, later.
func (p *Pipeline) insist(ctx context.Context, s *Script, keysAndArgs func() []any) (reply any, lost bool, err error) {
	for pace := (Pace{}); ; {
		reply, err = p.Script(ctx, s, keysAndArgs()...)
		lost = lost || MayHaveRun(err)
		if err == nil || !lost || IsRefused(err) || errors.Is(err, ErrClosed) {
			return reply, lost, err
		}
		select {
		case <-time.After(pace.Next()):
		case <-ctx.Done():
			return nil, lost, err
		}
	}
}

// MayHaveRun tells whether a command that failed may have done its work all the same.
func MayHaveRun(err error) bool {
	var server redis.Error
	if err == nil || errors.As(err, &server) {
		return false
	}
	var conn *ConnError
	return !errors.As(err, &conn) || conn.Op != "connect"
}

// Marks tell a server which writes of this process it has done already, so that those can be
// sent again that must not be done twice, or late: each has a number, and is done only if the
// mark, a key, does not say that number or a higher one. So a write that arrives when it was
// sent once more and others have followed changes nothing. Writes that are under way at the
// same time have different marks; there are as many as there ever were of these.
type Marks struct {
	prefix string

	mu   sync.Mutex
	made int
	free []*mark
}

// mark is one key, used for one write at a time.
type mark struct {
	key   string
	n     uint64 // of the latest write
	doubt bool   // an earlier one may still arrive
}

// OnceLua defines what a script for Once uses: done_before tells whether the script has run,
// and notes that it has. It comes after what may go wrong and before what must not be done
// twice. done_already tells it and notes nothing. A mark lapses a day after its first write, or the first after it had lapsed.
const OnceLua = `
local function done_before()
  local n, number = redis.call('INCR', KEYS[1]), tonumber(ARGV[1])
  if n > number then redis.call('DECR', KEYS[1]) end
  if n < number or n == 1 then redis.call('SETEX', KEYS[1], 86400, number) end
  return n > number
end
local function done_already()
  return tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1])
end
`

// LatestLua defines what a script for Latest uses: overtaken tells whether it comes late, after
// a later attempt.
const LatestLua = `
local function overtaken()
  local last, number = redis.call('GET', KEYS[1]), tonumber(ARGV[1])
  if last and tonumber(last) > number then return true end
  redis.call('SETEX', KEYS[1], 86400, number)
  return false
end
`

// NewMarks returns marks whose keys start with prefix.
func NewMarks(prefix string) *Marks {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &Marks{prefix: prefix + hex.EncodeToString(id[:]) + "."}
}

func (m *Marks) take() *mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.free); n > 0 {
		last := m.free[n-1]
		m.free = m.free[:n-1]
		return last
	}
	m.made++
	return &mark{key: m.prefix + strconv.Itoa(m.made)}
}

func (m *Marks) giveBack(used *mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = append(m.free, used)
}

// Once runs a script that starts with OnceLua until its outcome is known, as Insist does. It
// takes effect once. The first of keys and args are for the mark, and set here.
func (p *Pipeline) Once(ctx context.Context, marks *Marks, s *Script, keys, args []any) (any, error) {
	return p.marked(ctx, marks, s, keys, args, false)
}

// Latest runs a script that starts with LatestLua, as Once does. It may take effect more than
// once, but not any more when Latest has returned.
func (p *Pipeline) Latest(ctx context.Context, marks *Marks, s *Script, keys, args []any) (any, error) {
	return p.marked(ctx, marks, s, keys, args, true)
}

// marked runs a script with a mark's number, a new one for each attempt if that is wanted.
func (p *Pipeline) marked(ctx context.Context, marks *Marks, s *Script, keys, args []any, renew bool) (any, error) {
	m := marks.take()
	defer marks.giveBack(m)
	m.n++
	keys[0], args[0] = m.key, m.n
	all := slices.Concat([]any{count(keys)}, keys, args)
	first := true
	reply, lost, err := p.insist(ctx, s, func() []any {
		if renew && !first {
			m.n++
			all[1+len(keys)] = m.n
		}
		first = false
		return all
	})
	m.doubt = m.doubt || lost
	return reply, err
}

// forgetTimeout bounds how long Forget takes.
const forgetTimeout = 200 * time.Millisecond

// Forget deletes the marks of a process that ends, if there is a connection. Those that may
// still be needed lapse by themselves after a day.
func (p *Pipeline) Forget(marks *Marks) {
	marks.mu.Lock()
	defer marks.mu.Unlock()
	var keys []any
	for _, m := range marks.free {
		if !m.doubt {
			keys = append(keys, m.key)
		}
	}
	p.mu.Lock()
	connected := p.session != nil
	p.mu.Unlock()
	if len(keys) == 0 || !connected {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forgetTimeout)
	defer cancel()
	_, _ = p.Do(ctx, "DEL", keys...) // else they lapse
}
