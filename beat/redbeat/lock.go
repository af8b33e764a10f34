package redbeat

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// lockScript takes the lock, or renews it to its full time, as RedBeat does: only who holds it may.
var lockScript = redisconn.NewScript(1, `
local token = redis.call('GET', KEYS[1])
if not token then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
if token ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

// unlockScript frees the lock of who holds it.
var unlockScript = redisconn.NewScript(1, `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`)

// Lock implements [beat.Locker].
func (s *Source) Lock(ctx context.Context) (held bool, err error) {
	if s.cfg.NoLock {
		return true, nil
	}
	return redis.Bool(s.pipe.Script(ctx, lockScript, s.cfg.LockKey, s.token, s.cfg.LockTimeout.Milliseconds()))
}

// Unlock implements [beat.Locker].
func (s *Source) Unlock(ctx context.Context) error {
	if s.cfg.NoLock {
		return nil
	}
	_, err := s.pipe.Script(ctx, unlockScript, s.cfg.LockKey, s.token)
	if errors.Is(err, redis.ErrNil) {
		err = nil
	}
	return err
}

// newToken is a token like those of redis-py, which has a UUID's digits.
func newToken() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}
