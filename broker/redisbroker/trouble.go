package redisbroker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/apium/apium/internal/logline"
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

	// No connection, which has been logged: nothing else needs saying, except once
	// why it cannot be made, and whether that is a matter of configuration.
	away, explained, misconfigured bool
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

// connState logs that the connection was lost and made again, and in between why
// it cannot be made, once each.
func (c *Consumer) connState(connected bool, err error) {
	if !connected {
		c.peersDoubtful()
	}
	t, server := &c.troubles, c.cfg.Redis.String()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case connected && t.away:
		c.log.Info("Connected to "+server, logline.EventKey, "Connected to the broker", "broker", server)
	case connected:
	case !t.away:
		c.log.Warn("Connection to broker lost. Trying to re-establish the connection...", "broker", server, "error", err)
	case !t.explained || redisconn.IsConfig(err) != t.misconfigured:
		c.log.Error("Cannot connect to "+server+": "+err.Error()+". Trying again...",
			logline.EventKey, "Cannot connect to the broker", "broker", server, "error", err)
		t.explained, t.misconfigured = true, redisconn.IsConfig(err)
	}
	t.away = !connected
	if connected {
		t.explained = false
	}
}

// Connected tells whether there is a connection to Redis right now.
func (c *Consumer) Connected() bool {
	c.troubles.mu.Lock()
	defer c.troubles.mu.Unlock()
	return !c.troubles.away
}

// pause waits before attempt n+1: up to 5 s, with full jitter.
func pause(ctx context.Context, n int) { pauseUpTo(ctx, 5*time.Second, n) }

// pauseUpTo likewise, up to most.
func pauseUpTo(ctx context.Context, most time.Duration, n int) {
	limit := min(100*time.Millisecond<<min(n, 10), most)
	timer := time.NewTimer(rand.N(limit) + time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
