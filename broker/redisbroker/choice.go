package redisbroker

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// choice is what is heard of a topic: all that its pattern matches, or some channels only. It outlives connections.
type choice struct {
	mu      sync.Mutex
	only    []string      // channels; nil: all
	refused bool          // rights are missing: all are heard for good
	changed chan struct{} // token
}

// errRefused ends a connection on which channels could not be chosen.
var errRefused = errors.New("channels cannot be chosen")

// follow notes what is asked for, in routing keys, until ctx is done.
func (c *choice) follow(ctx context.Context, asked <-chan []string, channel func(routingKey string) string) {
	for {
		select {
		case keys := <-asked:
			var only []string
			for _, key := range keys {
				only = append(only, channel(key))
			}
			c.mu.Lock()
			c.only = only
			c.mu.Unlock()
			put(c.changed)
		case <-ctx.Done():
			return
		}
	}
}

// wanted is what is to be heard now; nil: all.
func (c *choice) wanted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused {
		return nil
	}
	return c.only
}

// apply has a connection that hears all of a pattern hear what is wanted, until done is closed. What is added and what is taken
// away goes to the server at once, so that nothing is missed or heard twice.
func (c *choice) apply(done <-chan struct{}, conn redis.Conn, pattern string, sending sync.Locker) {
	for heard := []string(nil); ; {
		if wanted := c.wanted(); !slices.Equal(wanted, heard) {
			sending.Lock()
			err := change(conn, pattern, heard, wanted)
			sending.Unlock()
			if err != nil {
				return // who receives sees it, too
			}
			heard = wanted
		}
		select {
		case <-c.changed:
		case <-done:
			return
		}
	}
}

// change has other channels heard than before; nil: all of the pattern.
func change(conn redis.Conn, pattern string, before, after []string) error {
	how := func(channels []string, all, some string) error {
		if channels == nil {
			return conn.Send(all, pattern)
		}
		return conn.Send(some, redis.Args{}.AddFlat(channels)...)
	}
	return errors.Join(how(after, "PSUBSCRIBE", "SUBSCRIBE"), how(before, "PUNSUBSCRIBE", "UNSUBSCRIBE"), conn.Flush())
}

// forgo has all heard from now on if an error of a connection says that rights are missing, and tells whether it does.
func (c *choice) forgo(err error) bool {
	if c == nil || !redisconn.IsConfig(err) && !redisconn.IsRefused(err) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused || c.only == nil {
		return false
	}
	c.refused = true
	return true
}
