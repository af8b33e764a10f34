package redbeat

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings/connection"
)

// DefaultLockTimeout is how long the lock is held after the last sign of life. RedBeat's own default is five
// times its longest pause between two looks, which are 25 minutes.
const DefaultLockTimeout = 25 * time.Second

// leastLockTimeout is longer than a beat counts on the lock after it was renewed, and a run takes to be sent.
const leastLockTimeout = 15 * time.Second

// Config says where the keys are. URL is required; every other zero value stands for RedBeat's default.
type Config struct {
	// URL is redbeat_redis_url, read as RedBeat does: see the URL of redisbackend.Config.
	URL        string
	Connection connection.Options   // redbeat_redis_options
	TLS        *connection.TLS      // redbeat_redis_use_ssl; nil: as the URL says
	Failover   *connection.Failover // of a URL with several servers; nil: one of its own

	KeyPrefix   string        // redbeat_key_prefix; "": redbeat:
	LockKey     string        // redbeat_lock_key, with or without the prefix; "": <prefix>:lock
	NoLock      bool          // redbeat_lock_key is null: there is no lock
	LockTimeout time.Duration // redbeat_lock_timeout; 0: DefaultLockTimeout; it is 15 s at least

	// BesideBroker says that the keys are in the database in which the broker keeps messages: then runs are
	// written, and the lock is looked at, in the step that publishes.
	BesideBroker bool

	// Location is the setting timezone, that of crontabs and of dates that are written. nil: UTC.
	Location *time.Location

	// Static are the entries of beat_schedule. They are stored as RedBeat does, so that it finds them, and
	// those that are gone are deleted. What it cannot store, such as solar schedules, is kept in memory.
	Static []*beat.Entry

	Logger *slog.Logger // nil: none
}

func (c *Config) setDefaults() {
	c.KeyPrefix = cmp.Or(c.KeyPrefix, "redbeat:")
	c.LockKey = cmp.Or(c.LockKey, c.KeyPrefix+":lock")
	if !strings.HasPrefix(c.LockKey, c.KeyPrefix) {
		c.LockKey = c.KeyPrefix + c.LockKey
	}
	c.LockTimeout = max(cmp.Or(c.LockTimeout, DefaultLockTimeout), leastLockTimeout)
	if c.Location == nil {
		c.Location = time.UTC
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Server tells where the URL leads, without connecting.
func (c *Config) Server() (connection.Server, error) {
	redis, err := c.redis()
	if err != nil {
		return connection.Server{}, err
	}
	return redis.Server(), nil
}

func (c *Config) redis() (*redisconn.Config, error) {
	cfg, err := redisconn.Parse(c.URL, redisconn.Backend, redisconn.Options{Options: c.Connection, UseTLS: c.TLS, Failover: c.Failover})
	if err != nil {
		return nil, fmt.Errorf("redbeat: %w", err)
	}
	return cfg, nil
}
