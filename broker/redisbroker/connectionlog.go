package redisbroker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/reconnect"
	"github.com/apium/apium/internal/redisconn"
)

// What may go wrong for a while, in the words of the log.
const (
	troubleClaim = "claim messages"
	troubleWait  = "wait for messages (polling instead)"
	troubleBeat  = "renew the sign of life"
	troublePeers = "look after dead workers"
	troubleSweep = "restore expired messages"

	troubleUnpark = "bring back parked messages"
	troubleHear   = "listen to a fanout exchange"
)

// troubles logs each trouble when it starts, when its reason changes, and when it is over.
type troubles struct {
	mu sync.Mutex
	on map[string]string // trouble → reason logged

	// No connection, which has been logged: nothing else needs saying, except why it cannot
	// be made, as often as Celery would say that.
	away bool
	outage
}

func (t *troubles) report(log *slog.Logger, what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	reason := err.Error()
	if t.away || t.on[what] == reason {
		return
	}
	if t.on == nil {
		t.on = make(map[string]string)
	}
	t.on[what] = reason
	log.Error("Cannot "+what+", trying again: "+err.Error(), logline.EventKey, "Trying again", "what", what, "error", err)
}

func (t *troubles) over(log *slog.Logger, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.on[what] != "" {
		delete(t.on, what)
		log.Info("Again able to "+what, logline.EventKey, "Able again", "what", what)
	}
}

// outage is what is known of a lost connection.
type outage struct {
	tries         int       // attempts to connect again, at Celery's pace
	next          time.Time // when the next one counts
	misconfigured bool      // the last that was logged failed on a matter of configuration
}

// connState logs that the connection was lost and made again, and in between why
// it cannot be made.
func (c *Consumer) connState(connected bool, err error) {
	if !connected {
		c.peersDoubtful()
		c.cutLong()
	}
	t := &c.troubles
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case connected && t.away:
		reconnect.LogConnected(c.log, c.redis.String())
	case connected:
	case !t.away:
		c.connLost(err)
	default:
		c.notReconnected(err)
	}
	t.away = !connected
	if connected {
		t.outage = outage{}
	}
}

// connLost logs that the connection was lost (celery/worker/consumer/consumer.py).
func (c *Consumer) connLost(err error) {
	if c.cfg.MaxReconnects >= 0 {
		reconnect.LogLost(c.log, c.redis.String(), err)
		return
	}
	reconnect.LogDisabled(c.log, err)
	c.giveUp(fmt.Errorf("the connection to %s was lost: %w", c.redis, err))
}

// notReconnected counts and logs failed attempts to connect again, but no more of them than
// Celery would make.
func (c *Consumer) notReconnected(err error) {
	o, now, misconfigured := &c.troubles.outage, time.Now(), redisconn.IsConfig(err)
	if c.cfg.MaxReconnects < 0 || c.reach.Err() != nil {
		return
	}
	counts := !now.Before(o.next)
	if !counts && misconfigured == o.misconfigured {
		return
	}
	o.misconfigured = misconfigured
	if counts {
		o.tries++
		o.next = now.Add(reconnect.Delay(o.tries))
	}
	if most := c.cfg.MaxReconnects; most > 0 && o.tries > most {
		reconnect.LogGivenUp(c.log, err)
		c.giveUp(fmt.Errorf("cannot connect to %s again: %w", c.redis, err))
		return
	}
	reconnect.LogRetry(c.log, c.redis.String(), err, o.tries, c.cfg.MaxReconnects)
}

// Connected tells whether there is a connection to Redis right now.
func (c *Consumer) Connected() bool {
	c.troubles.mu.Lock()
	defer c.troubles.mu.Unlock()
	return !c.troubles.away
}

// pause waits before attempt n+1.
func pause(ctx context.Context, n int) { pauseUpTo(ctx, redisconn.MaxPause, n) }

// pauseUpTo waits before attempt n+1, up to most.
func pauseUpTo(ctx context.Context, most time.Duration, n int) {
	sleep(ctx, redisconn.PauseBefore(n, most)+time.Millisecond)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
