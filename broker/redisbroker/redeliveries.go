package redisbroker

import (
	"bytes"
	"context"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
)

// kombu marks a message that was given back, but does not count. A message that kills
// its worker comes back for ever, so we count how often a message went back because
// the worker that held it died: a key per message, named by the delivery tag that its
// producer gave it. Only messages that have gone back cost anything.
//
// The script that gives back the claims of a dead worker raises the counter, and so
// does our visibility sweep if the claim was a Go worker's, which renews the claims
// it holds. Not so for a Python worker's: it never renews, so that a long task or
// a distant ETA expires without any death.
//
// At the first death it is not known which of its messages the worker was running; all
// that it held count one. From then on they are watched: who starts one marks the claim,
// and only what was marked counts more.

// countFor is how long a counter lives after it was raised.
const countFor = 7 * 24 * time.Hour

// countRedeliveries fills in Redeliveries of messages that are marked as redelivered,
// in one round trip if there are any. What cannot be found out counts as 0.
func (c *Consumer) countRedeliveries(ctx context.Context, ds []broker.Delivery) {
	var places []int
	var counters []any
	for i := range ds {
		if !bytes.Contains(ds[i].Raw, []byte(`vered"`)) { // "redelivered": the rarer the first byte, the quicker
			continue
		}
		if m := read(ds[i].Raw); m.Err == nil && m.Redelivered {
			places = append(places, i)
			counters = append(counters, c.keys.redeliveries(string(m.DeliveryTag)))
		}
	}
	if len(counters) == 0 {
		return
	}
	ctx, cancel := outlive(ctx, claimGrace)
	defer cancel()
	counts, err := redis.Ints(c.pipe.Do(ctx, "MGET", counters...))
	if err != nil {
		c.log.Warn("Cannot find out how often messages were redelivered", "count", len(counters), "error", err)
		return
	}
	c.countedMu.Lock()
	defer c.countedMu.Unlock()
	for i, n := range counts {
		if n > 0 {
			ds[places[i]].Redeliveries = n
			c.counted[ds[places[i]].Tag], _ = counters[i].(string)
		}
	}
}

// Started marks claims of messages that were redelivered before.
func (c *Consumer) Started(ctx context.Context, tags ...string) error {
	for _, tag := range tags {
		if _, err := c.pipe.Do(ctx, "SETEX", c.keys.started(tag), int(countFor/time.Second), 1); err != nil {
			return closedError(err)
		}
	}
	return nil
}

// recount notes the redeliveries of messages that are to go back: who gives one back may know of a death.
func (c *Consumer) recount(ctx context.Context, ds []broker.Delivery) error {
	for _, d := range ds {
		if d.Redeliveries == 0 {
			continue
		}
		m := read(d.Raw)
		if m.Err != nil {
			continue
		}
		if _, err := c.pipe.Do(ctx, "SETEX", c.keys.redeliveries(string(m.DeliveryTag)), int(countFor/time.Second), d.Redeliveries); err != nil {
			return err
		}
	}
	return nil
}

// released notes that n deliveries are no longer held here, and returns the keys that
// count their redeliveries.
func (c *Consumer) released(n int, tag func(i int) string) (keys []any) {
	c.held.Add(-int64(n))
	c.countedMu.Lock()
	defer c.countedMu.Unlock()
	for i := 0; i < n && len(c.counted) > 0; i++ {
		if counter, has := c.counted[tag(i)]; has {
			keys = append(keys, counter, c.keys.started(tag(i)))
			delete(c.counted, tag(i))
		}
	}
	return keys
}

// forget deletes what was counted of messages that are done. If it fails it lapses.
func (c *Consumer) forget(ctx context.Context, keys []any) {
	if len(keys) > 0 {
		_, _ = c.pipe.Do(ctx, "DEL", keys...)
	}
}
