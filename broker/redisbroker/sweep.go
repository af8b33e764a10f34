package redisbroker

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// The mutex of the sweep only saves work: every message is moved in one step that looks
// whether its lease still has not been renewed. So it is held no longer than a sweep takes,
// and one that somebody else holds for longer than that, because he was killed, is not
// waited for: kombu's would keep everybody away for 300 s.

// prolongScript holds the mutex for longer if it is still ours.
//
//	KEYS  1 unacked_mutex
//	ARGV  1 token, 2 milliseconds
var prolongScript = redisconn.NewScript(1, `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
`)

// unlockScript releases the mutex if it is still ours.
//
//	KEYS  1 unacked_mutex
//	ARGV  1 token
var unlockScript = redisconn.NewScript(1, `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`)

// sweepRegularly is the goroutine of the visibility sweep: at start, then as
// often as kombu would without its throttle: a look costs next to nothing.
func (c *Consumer) sweepRegularly() {
	ticker := time.NewTicker(c.cfg.UnackedRestoreInterval * time.Duration(c.cfg.UnackedRestoreThrottle))
	defer ticker.Stop()
	for {
		var err error
		if c.known.mayHaveExpired(time.Now().Add(-c.cfg.VisibilityTimeout)) {
			err = c.sweep(c.ctx)
		}
		switch {
		case c.ctx.Err() != nil:
			return
		case err != nil:
			c.troubles.report(c.log, troubleSweep, err)
		default:
			c.troubles.over(c.log, troubleSweep)
		}
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
	}
}

// sweep gives back the claims of anybody, Python or Go, whose lease was not
// renewed for the visibility timeout (kombu: QoS.restore_visible). While another
// process sweeps it does nothing.
func (c *Consumer) sweep(ctx context.Context) error {
	c.sweeping.Lock()
	defer c.sweeping.Unlock()
	token := rand.Text()
	_, err := redis.String(c.pipe.Do(ctx, "SET", c.keys.mutex, token, "NX", "PX", c.cfg.UnackedMutexExpire.Milliseconds()))
	switch {
	case errors.Is(err, redis.ErrNil):
		if stuck, err := c.mutexIsStuck(ctx); !stuck {
			return err
		}
	case err != nil:
		return err
	default:
		c.mutexSeen.token = ""
	}
	restored, err := c.sweepLocked(ctx, token)
	if restored > 0 {
		c.log.Warn("Restored messages whose visibility timeout had passed", "count", restored)
	}
	// Also after a failure: nobody should wait for the mutex to expire.
	unlock, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_, errUnlock := c.pipe.Script(unlock, unlockScript, c.keys.mutex, token)
	return errors.Join(err, errUnlock)
}

// mutexSeen is who held the mutex when a sweep last looked, and since when that was so.
type mutexSeen struct {
	token string
	since time.Time
}

// mutexIsStuck tells whether the same holder was seen for as long as ours would be held.
func (c *Consumer) mutexIsStuck(ctx context.Context) (bool, error) {
	token, err := redis.String(c.pipe.Do(ctx, "GET", c.keys.mutex))
	if err != nil && !errors.Is(err, redis.ErrNil) {
		return false, err
	}
	if token != c.mutexSeen.token {
		c.mutexSeen = mutexSeen{token, time.Now()}
	}
	return token != "" && time.Since(c.mutexSeen.since) >= c.cfg.UnackedMutexExpire, nil
}

// sweepBatch is how many expired claims are looked up at a time.
const sweepBatch = 1000

// sweepLocked restores what has expired, the newest first as kombu does, so that the
// oldest is served first. With every batch the mutex of that token is held for longer.
func (c *Consumer) sweepLocked(ctx context.Context, token string) (restored int, err error) {
	until := score(time.Now().Add(-c.cfg.VisibilityTimeout))
	left := c.cfg.UnackedRestoreLimit
	for {
		n := sweepBatch
		if left > 0 {
			n = min(n, left)
		}
		tags, err := redis.Strings(c.pipe.Do(ctx, "ZREVRANGEBYSCORE", c.keys.index, until, 0, "LIMIT", 0, n))
		if err != nil {
			return restored, err
		}
		done, err := c.restore(ctx, moveOptions{maxScore: until}, tags)
		restored += done
		left -= len(tags)
		if err != nil || len(tags) < n || left == 0 {
			return restored, err
		}
		if _, err := c.pipe.Script(ctx, prolongScript, c.keys.mutex, token, c.cfg.UnackedMutexExpire.Milliseconds()); err != nil {
			return restored, err
		}
	}
}
