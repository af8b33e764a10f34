package amqpbroker

import (
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/rabbitconn"
)

// RabbitMQ closes the channel of who has not acknowledged a message within consumer_timeout, and gives all that it held
// to others. So nothing is held for longer than half of that: what runs is replaced by a copy (hold.go), and what
// nobody has started goes back to its queue, where others may be idle.

// defaultTimeout is RabbitMQ's own consumer_timeout.
const defaultTimeout = 30 * time.Minute

// keep looks for what is held for long until the consumer is closed.
func (c *Consumer) keep() {
	defer close(c.kept)
	for {
		select {
		case <-time.After(time.Duration(c.timeout.Load()) / 8):
		case <-c.renewNow:
		case <-c.ctx.Done():
			return
		}
		c.renew(time.Now())
	}
}

// renewSoon has the next look follow sooner, as something could not be held.
func (c *Consumer) renewSoon() { time.AfterFunc(c.cfg.look, func() { signal(c.renewNow) }) }

// renew sees to what has been held for long, and to what was to be held when its task started.
func (c *Consumer) renew(now time.Time) {
	var running, waiting []*delivery
	c.mu.Lock()
	if l := c.link; l != nil && !c.closed.Load() {
		for d := l.oldest; d != nil; d = d.newer {
			runs, long := d.running || d.heirOf != nil, now.Sub(d.since) >= c.timeoutOf(d.sub.source)/2
			switch {
			case d.hold != nil || d.leaving || slices.Contains(l.doubted[d.notes], d):
			case runs && (long || d.started):
				running = append(running, d)
			case !runs && long && !d.isHeld():
				waiting = append(waiting, d)
			}
		}
	}
	c.buffer.remove(func(d *delivery) bool { return d.buffered && now.Sub(d.since) >= c.timeoutOf(d.sub.source)/2 }, new([]*delivery))
	for _, d := range waiting {
		d.buffered = true // who has claimed it has lost it
	}
	c.mu.Unlock()
	if len(waiting) > 0 {
		c.giveBack(c.ctx, waiting)
	}
	if err := c.holdAll(c.ctx, running); err != nil && c.ctx.Err() == nil {
		c.renewSoon()
		c.log.Warn("Messages whose tasks run for long cannot be held in a queue of the worker's own now; trying again: "+rabbitconn.Describe(err),
			logline.EventKey, "Messages cannot be held now", "error", err)
	}
}

// timeoutOf is the consumer_timeout of a queue.
func (c *Consumer) timeoutOf(s *source) time.Duration {
	if s.timeout > 0 {
		return min(s.timeout, time.Duration(c.timeout.Load()))
	}
	return time.Duration(c.timeout.Load())
}

// ownTimeout is the timeout that a queue is declared or consumed with; 0: none.
func (s *source) ownTimeout() time.Duration {
	for _, args := range []map[string]any{s.Declaration.ConsumerArguments, s.Declaration.Arguments} {
		switch ms := args["x-consumer-timeout"].(type) {
		case int64:
			return time.Duration(ms) * time.Millisecond
		case int:
			return time.Duration(ms) * time.Millisecond
		}
	}
	return 0
}

var timeoutUsed = regexp.MustCompile(`delivery acknowledgement on channel .* timed out. Timeout value used: (\d+) ms`)

// learnTimeout takes the timeout from what the broker says when it has closed a channel because of it.
func (c *Consumer) learnTimeout(err error) {
	if err == nil {
		return
	}
	if found := timeoutUsed.FindStringSubmatch(err.Error()); found != nil {
		ms, _ := strconv.ParseInt(found[1], 10, 64) // it consists of digits
		if d := time.Duration(ms) * time.Millisecond; d > 0 && d < time.Duration(c.timeout.Load()) {
			c.timeout.Store(int64(d))
			signal(c.renewNow)
		}
	}
}
